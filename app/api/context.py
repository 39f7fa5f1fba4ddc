"""What the routes work with."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request

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
    """Everything a route needs.  `app.main` makes it once; each request has its own, with jobs as its caller has them.

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
    traffic: Traffic
    timed: Timed
    space: Space
    clock: Clock
    access: Access
    caller: Caller = NOBODY


async def _context(request: Request) -> Context:  # not `def`, which FastAPI would run in a thread
    context = request.app.state.context
    assert isinstance(context, Context)
    caller = request.scope.get(CALLER, NOBODY)
    jobs = context.jobs.of(caller)
    return replace(
        context,
        caller=caller,
        jobs=jobs,
        control=context.control.of(jobs),
        appending=context.appending.of(jobs),
        inputs=context.inputs.of(jobs),
        files=context.files.of(caller),
    )


async def _ready_context(request: Request, context: "AnyPhase") -> Context:
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
