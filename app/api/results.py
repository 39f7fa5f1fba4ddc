"""Routes of a job's results: pages and JSON lines, all reads of one log."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response

from app.api.context import Ctx
from app.api.jobs import After, JobId
from app.api.schemas import array_of_lines
from app.api.streaming import STREAM_HEADERS, Stream, available, follow
from app.domain.item import Order, Outcome, View
from app.service.jobs import WAIT_SECONDS_MAX

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"])

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
    jobs, clock = context.jobs, context.clock
    await jobs.get(job_id)
    view = View(order, status)
    deadline = clock.monotonic() + wait
    while True:
        bell = jobs.bell(job_id)
        seen = bell.rings if bell else 0  # before the reading: what comes meanwhile must not be slept through
        page = await jobs.results(job_id, view, after, limit, _PAGE_BYTES_MAX)
        left = deadline - clock.monotonic()
        if page.count or bell is None or left <= 0 or jobs.closing.is_set():
            break
        await bell.wait(seen, left)
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
    lines = read(context.jobs, job_id, view, after)
    return Stream(lines, headers=STREAM_HEADERS, media_type=media_type)
