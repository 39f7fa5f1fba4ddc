"""Server-sent events of one job (HTML standard, section 9.2): who may have them, from where on, and when to return."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from app.api import models
from app.api.context import AnyPhase, Context
from app.api.jobs import After, JobId, Ordered
from app.api.openapi import events as event_content
from app.api.openapi import header, parameter, problems, returns
from app.api.query import Exact
from app.api.streaming import Piece, Stream
from app.api.viewer import Viewer
from app.domain.errors import Unavailable
from app.domain.item import View

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["results"])

LATER_RETRY_MS = 15_000
STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

Include = Literal["results", "failures"]


_EVENTS: dict[str, type[BaseModel]] = {
    "job": models.Job,
    "progress": models.Progress,
    "results": models.ResultBatch,
    "end": models.Job,
}


@router.get(
    "/events",
    responses={
        200: returns("Events, until the job has finished.", content=event_content(_EVENTS)),
        204: returns("The job has finished, and you have everything."),
        **problems(404, 410, 422),
    },
    openapi_extra={
        "parameters": [
            header("Last-Event-ID", "the `id` of the last event you have; wins over `after`"),
            parameter("ticket", "lets a browser in that has no key to send; it comes with `links.events`"),
        ]
    },
)
async def get_events(
    request: Request,
    context: AnyPhase,
    job_id: JobId,
    include: Annotated[Include | None, Query(description="send result lines too")] = None,
    order: Ordered = "completion",
    after: After = 0,
) -> Response:
    """The job's changes, and with `include` its results, as they happen."""
    try:
        await context.jobs.wait_ready()
    except Unavailable:
        return wait_a_while()
    last_id = last_event_id(request)
    view = await context.jobs.get(job_id)
    viewer = Viewer(
        context.jobs,
        context.boards,
        context.clock,
        job_id,
        View(order, "failed" if include == "failures" else None) if include else None,
        after if last_id is None else last_id,
        context.caller.make_ticket,
    )
    if last_id is not None and view.job.status.finished and last_id >= viewer.final_cursor(view):
        return Response(status_code=204, headers=STREAM_HEADERS)
    if no_more_streams(context):
        return Response(
            viewer.job_event(view, LATER_RETRY_MS), headers=STREAM_HEADERS, media_type="text/event-stream"
        )
    return Stream(_counted(context, viewer), headers=STREAM_HEADERS, media_type="text/event-stream")


def no_more_streams(context: Context) -> bool:
    """Whether as many streams are open as may be."""
    return sum(context.traffic.readers.values()) >= context.settings.max_streams


def wait_a_while() -> Response:
    """What a stream answers that cannot be had yet; a 503 a browser would take as the end for good (9.2.3)."""
    retry = b"retry: %d\n\n" % LATER_RETRY_MS
    return Response(retry, headers=STREAM_HEADERS, media_type="text/event-stream")


async def _counted(context: Context, viewer: Viewer) -> AsyncIterator[Piece]:
    with context.traffic.reading("job"):
        async for piece in viewer.events():
            yield piece


def last_event_id(request: Request) -> int | None:
    """The cursor in `Last-Event-ID`; one that is none counts as absent."""
    text = request.headers.get("last-event-id")
    if text is None or not text.isdecimal() or len(text) > 18:
        return None
    return int(text)
