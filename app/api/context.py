"""What the routes work with."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request

from app.api.board import Boards
from app.api.gate import CALLER
from app.api.multipart import FileWriter
from app.api.traffic import Timed, Traffic
from app.domain.caller import NOBODY, Caller
from app.domain.clock import Clock
from app.domain.engine import Engine
from app.domain.errors import Gone
from app.service.access import Access
from app.service.appending import Appending
from app.service.changes import Changes
from app.service.control import Control
from app.service.digests import Digests
from app.service.explaining import Explaining
from app.service.figures import Figures
from app.service.files import Files
from app.service.inputs import Inputs
from app.service.inspection import Inspection
from app.service.jobs import Jobs
from app.service.space import Space

CALLERS_MAX = 256
"""So many callers' contexts are kept, those of who came last."""


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
    def max_streams(self) -> int: ...
    @property
    def retention_seconds(self) -> float: ...
    @property
    def failure_retention_seconds(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a route needs.  `app.main` makes it once; each caller has its own, with jobs as that caller has them.

    Invariant: who takes `jobs` from here finds what the caller sees, and nothing else.
    """

    settings: ApiSettings
    jobs: Jobs
    control: Control
    appending: Appending
    inputs: Inputs
    files: Files
    blobs: Blobs
    engine: Engine
    inspection: Inspection
    digests: Digests
    explaining: Explaining
    figures: Figures
    changes: Changes
    boards: Boards
    traffic: Traffic
    timed: Timed
    space: Space
    clock: Clock
    access: Access
    caller: Caller = NOBODY

    def of(self, caller: Caller) -> "Context":
        """The same for this caller."""
        jobs = self.jobs.of(caller)
        return replace(
            self,
            caller=caller,
            jobs=jobs,
            control=self.control.of(jobs),
            appending=self.appending.of(jobs),
            inputs=self.inputs.of(jobs),
            files=self.files.of(caller),
        )


async def _context(request: Request) -> Context:
    return _context_of(request)


def _context_of(request: Request) -> Context:
    context = request.app.state.context_of(request.scope.get(CALLER, NOBODY))
    assert isinstance(context, Context)
    return context


async def _ready_context(request: Request) -> Context:
    context = _context_of(request)
    if not context.jobs.ready:
        await context.jobs.wait_ready()
    job_id = request.path_params.get("job_id")
    if job_id is not None and request.method != "PUT" and context.caller.sees_only is not None:
        with suppress(Gone):  # which each route answers in its own way
            await context.jobs.get(job_id)
    return context


AnyPhase = Annotated[Context, Depends(_context)]
"""Also while the service starts."""
Ctx = Annotated[Context, Depends(_ready_context)]
"""Once the service has started: a request that comes before that waits a while, and is then answered 503."""
