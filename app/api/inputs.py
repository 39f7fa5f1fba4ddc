"""Routes that give items again: to read, and to run once more."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import documents
from app.api.context import Ctx
from app.api.jobs import IDEMPOTENCY_KEY, RETURNS, WAIT, JobId, answer
from app.api.openapi import lines, problems, returns
from app.api.query import Exact
from app.api.streaming import STREAM_HEADERS, Stream
from app.api.submit import idempotency_key
from app.service.inputs import Select, Selection
from app.service.retry import retry

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["jobs"])

Group = Annotated[
    str, Field(min_length=1, max_length=64, description="of the failed, those of this error group")
]


class RetryOf(BaseModel):
    """Which items to run again; by default those that failed."""

    model_config = ConfigDict(extra="forbid")

    select: Literal["failed", "cancelled", "unfinished"] = "failed"
    error_group: Group | None = None

    @model_validator(mode="after")
    def _of_failures(self) -> Self:
        if self.error_group is not None and self.select != "failed":
            raise ValueError("an error_group is one of failed items; leave select out")
        return self


@router.post(
    "/retry",
    status_code=202,
    responses={**RETURNS, **problems(404, 409, 410, 413, 415, 422, 429, 507)},
    openapi_extra=documents.described(RetryOf, required=False) | {"parameters": [WAIT, IDEMPOTENCY_KEY]},
)
async def retry_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    """Run items of a finished job again, as a new job with the same options.  Nothing is uploaded."""
    context.jobs.check_open()
    context.space.check()
    key = idempotency_key(request)
    chosen = await documents.read(request, RetryOf)
    accepted = await retry(
        context.jobs, context.inputs, job_id, Selection(chosen.select, chosen.error_group), key
    )
    return await answer(request, context, accepted, created=True)


@router.get(
    "/inputs.jsonl",
    responses={200: returns("The items.", content=lines(None)), **problems(404, 410, 422)},
)
async def get_inputs(
    context: Ctx,
    job_id: JobId,
    select: Annotated[
        Select, Query(description="cancelled: cut off by the job's end; unfinished: no result")
    ] = "all",
) -> Response:
    """The job's items, a line each, as they were sent; also while it runs."""
    job = (await context.jobs.get(job_id)).job
    lines = context.inputs.lines(job, Selection(select))
    return Stream(lines, headers=STREAM_HEADERS, media_type="application/jsonl")
