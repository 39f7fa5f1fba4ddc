"""Routes of a job's results: pages and JSON lines, all reads of one log."""

import hashlib
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response

from app.api import models, ranges
from app.api.context import Ctx
from app.api.jobs import After, JobId, Ordered
from app.api.openapi import header, lines, problems, returns
from app.api.pieces import Spread, json_answer
from app.api.query import Exact
from app.api.streaming import STREAM_HEADERS, Stream, available, follow, stretch
from app.domain.item import Outcome, View
from app.domain.job import Job
from app.service.jobs import WAIT_SECONDS_MAX, Jobs

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["results"])

Filter = Annotated[
    Outcome | None, Query(description="only these results; a view of its own, with its own cursor")
]

PAGE_LINES_MAX = 10_000
_PAGE_BYTES_MAX = 8 << 20
_JSONL = ("application/jsonl", "application/x-ndjson")


@router.get(
    "/results",
    responses={
        200: returns("A page of results.", models.ResultPage, headers=("Link",)),
        **problems(404, 410, 422),
    },
)
async def get_results(
    request: Request,
    context: Ctx,
    job_id: JobId,
    order: Ordered = "completion",
    status: Filter = None,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_LINES_MAX, description="how many at most")] = 1000,
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
        "results": Spread.lines(page.lines),
        "after": after,
        "next_after": page.next_after,
        "complete": complete,
    }
    headers = {}
    if not complete:
        headers["Link"] = f'<{request.url.include_query_params(after=page.next_after)}>; rel="next"'
    return json_answer(document, headers=headers)


_FILE = ("ETag", "Accept-Ranges")


@router.get(
    "/results.jsonl",
    responses={
        200: returns("Result lines.", headers=_FILE, content=lines(models.Result)),
        206: returns(
            "Some bytes of a finished job's lines.",
            headers=(*_FILE, "Content-Range"),
            content=lines(models.Result),
        ),
        304: returns("They are as you know them.", headers=_FILE),
        **problems(404, 410, 416, 422),
    },
    openapi_extra={
        "parameters": [
            header("Range", "some bytes of a finished job's lines, like `bytes=1000-`"),
            header("If-Range", "obey `Range` only if the lines still have this `ETag`"),
            header("If-None-Match", "the `ETag` of the lines that you have"),
        ]
    },
)
async def get_result_lines(
    request: Request,
    context: Ctx,
    job_id: JobId,
    order: Ordered = "completion",
    status: Filter = None,
    after: After = 0,
    follow_: Annotated[
        Literal["0", "1"], Query(alias="follow", description="1: stay until the job ends")
    ] = "0",
) -> Response:
    """Results as JSON lines: those there are, or with `follow=1` all as they come.

    Those of a finished job are a file: `Content-Length`, `ETag`, `Range`.
    """
    job = (await context.jobs.get(job_id)).job
    view = View(order, status)
    accept = request.headers.get("accept", "")
    media_type = next((kind for kind in _JSONL if kind in accept), _JSONL[0])
    if job.status.finished:
        return await _file(request, context.jobs, job, view, after, media_type)
    read = follow if follow_ == "1" else available
    lines = read(context.jobs, job_id, view, after)
    return Stream(lines, headers=STREAM_HEADERS, media_type=media_type)


async def _file(request: Request, jobs: Jobs, job: Job, view: View, after: int, media_type: str) -> Response:
    """The results of a finished job, or the part of them that is asked for."""
    named = [job.id, job.created_at.isoformat(), job.counts.done, view.order, view.outcome, after]
    etag = f'"{hashlib.sha256(msgspec.json.encode(named)).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if ranges.known(request, etag):
        return Response(status_code=304, headers=headers)
    whole = await jobs.extent(job.id, view, after)
    part = ranges.wanted(request, etag, whole.size_bytes)
    if part is None:
        headers["Content-Length"] = str(whole.size_bytes)
        return Stream(available(jobs, job.id, view, after), headers=headers, media_type=media_type)
    if not part:
        return ranges.unsatisfiable(request, whole.size_bytes, headers)
    at = await jobs.extent(job.id, view, after, part.start)
    lines = stretch(available(jobs, job.id, view, at.after), at.skip_bytes, len(part))
    headers["Content-Length"] = str(len(part))
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{whole.size_bytes}"
    return Stream(lines, 206, headers=headers, media_type=media_type)
