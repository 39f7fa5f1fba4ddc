"""What the routes work with."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request

from app.api.multipart import FileWriter
from app.domain.clock import Clock
from app.domain.engine import Engine
from app.service.control import Control
from app.service.digests import Digests
from app.service.files import Files
from app.service.inspection import Inspection
from app.service.jobs import Jobs
from app.service.space import Space


class Blobs(Protocol):
    """The directory of stored files."""

    def path(self, file_id: str) -> Path: ...
    def writing(self) -> AbstractContextManager[FileWriter]: ...


class ApiSettings(Protocol):
    """The settings that routes look at."""

    @property
    def max_body_bytes(self) -> int: ...
    @property
    def max_item_bytes(self) -> int: ...
    @property
    def max_file_bytes(self) -> int: ...
    @property
    def retention_seconds(self) -> float: ...
    @property
    def failure_retention_seconds(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a route needs, made once by `app.main`."""

    settings: ApiSettings
    jobs: Jobs
    control: Control
    files: Files
    blobs: Blobs
    engine: Engine
    inspection: Inspection
    digests: Digests
    space: Space
    clock: Clock


async def _context(request: Request) -> Context:  # not `def`, which FastAPI would run in a thread
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


async def _ready_context(context: "AnyPhase") -> Context:
    await context.jobs.wait_ready()
    return context


AnyPhase = Annotated[Context, Depends(_context)]
"""Also while the service starts."""
Ctx = Annotated[Context, Depends(_ready_context)]
"""Once the service has started: a request that comes before that waits a while, and is then answered 503."""
