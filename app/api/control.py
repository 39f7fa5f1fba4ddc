"""Routes that change a job while it runs."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field

from app.api import documents, models
from app.api.context import Ctx
from app.api.jobs import JobId, job_response
from app.api.openapi import problems, returns
from app.api.query import Exact
from app.api.schemas import ItemTimeout, MaxFailures, MaxInFlight, Metadata, Seconds
from app.domain.job import Job, Priority

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["jobs"])


class JobChange(BaseModel):
    """What can be changed of a job that has not finished; null takes a limit away."""

    model_config = ConfigDict(extra="forbid")

    priority: Priority = "normal"
    item_timeout_seconds: Annotated[
        ItemTimeout | None, Field(description="of items that start from now on")
    ] = None
    job_timeout_seconds: Annotated[Seconds | None, Field(description="since the job's submission")] = None
    max_failures: MaxFailures | None = None
    max_in_flight: MaxInFlight | None = None
    metadata: Annotated[Metadata | None, Field(description="replaces what there was")] = None

    def of(self, job: Job) -> Job:
        """The job with what was given here, and otherwise as it was."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        metadata = given.pop("metadata", job.metadata)
        return replace(job, options=replace(job.options, **given), metadata=metadata)


_CHANGED = {
    200: returns("The job, changed.", models.Job, headers=("Retry-After",)),
    **problems(404, 409, 410, 413, 415, 422),
}


@router.patch("", responses=_CHANGED, openapi_extra=documents.described(JobChange))
async def patch_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    """Change options of a job that has not finished, with effect from now on."""
    change = await documents.read(request, JobChange)
    return job_response(await context.control.change(job_id, change.of))


@router.post("/pause", responses=_CHANGED)
async def pause_job(context: Ctx, job_id: JobId) -> Response:
    """No item starts until the job is resumed; those that run go on."""
    return job_response(await context.control.pause(job_id))


@router.post("/resume", responses=_CHANGED)
async def resume_job(context: Ctx, job_id: JobId) -> Response:
    """A paused job goes on."""
    return job_response(await context.control.resume(job_id))
