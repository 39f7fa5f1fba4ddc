"""Routes of a job's results: pages and JSON lines, all reads of one log."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response

from app.api.context import Ctx
from app.api.jobs import JobId
from app.api.schemas import array_of_lines
from app.api.streaming import Stream, available, follow
from app.domain.item import Order, Outcome, View
from app.service.jobs import WAIT_SECONDS_MAX

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"])

After = Annotated[int, Query(ge=0, description="how many lines of this view you have")]

PAGE_LINES_MAX = 10_000
_PAGE_BYTES_MAX = 8 << 20
_JSONL = ("application/jsonl", "application/x-ndjson")


@router.get("/results")
async def get_results(
    request: Request,
    context: Ctx,
    job_id: JobId,
    order: Order = "completion",
    status: Outcome | None = None,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_LINES_MAX)] = 1000,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_SECONDS_MAX, description="seconds to wait for one more line")
    ] = 0,
) -> Response:
    """A page of results."""
    jobs = context.jobs
    await jobs.get(job_id)
    view = View(order, status)
    bell = jobs.bell(job_id)
    page = await jobs.results(job_id, view, after, limit, _PAGE_BYTES_MAX)
    loop_deadline = context.clock.monotonic() + wait
    while not page.count and bell is not None and not jobs.closing.is_set():
        left = loop_deadline - context.clock.monotonic()
        if left <= 0:
            break
        seen = bell.rings
        await bell.wait(seen, left)
        bell = jobs.bell(job_id)
        page = await jobs.results(job_id, view, after, limit, _PAGE_BYTES_MAX)
    complete = bell is None and not (await jobs.results(job_id, view, page.next_after, 1)).count
    document = {
        "results": array_of_lines(page.lines),
        "after": after,
        "next_after": page.next_after,
        "complete": complete,
    }
    headers = {}
    if not complete:
        headers["Link"] = f'<{request.url.include_query_params(after=page.next_after)}>; rel="next"'
    return Response(msgspec.json.encode(document), headers=headers, media_type="application/json")


@router.get("/results.jsonl")
async def get_result_lines(
    request: Request,
    context: Ctx,
    job_id: JobId,
    order: Order = "completion",
    status: Outcome | None = None,
    after: After = 0,
    follow_: Annotated[
        Literal["0", "1"], Query(alias="follow", description="1: stay until the job ends")
    ] = "0",
) -> Response:
    """Results as JSON lines: those there are, or with `follow=1` all as they come."""
    await context.jobs.get(job_id)
    view = View(order, status)
    read = follow if follow_ == "1" else available
    accept = request.headers.get("accept", "")
    media_type = next((kind for kind in _JSONL if kind in accept), _JSONL[0])
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(read(context.jobs, job_id, view, after), headers=headers, media_type=media_type)
