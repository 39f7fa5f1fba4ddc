"""Server-sent events of one job (HTML standard, section 9.2).

How it works: the result log is the event log.  A connection holds a cursor and nothing else; each round it
reads what there is, sends it, and waits for the job's bell.  A reader that lags gets fuller batches.

Invariant: an event's `id` is the cursor after it, so a client that comes back with it misses and repeats nothing.
"""

import random
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from app.api import models
from app.api.context import AnyPhase, Context
from app.api.jobs import After, JobId, Ordered
from app.api.openapi import events as event_content
from app.api.openapi import header, parameter, problems, returns
from app.api.query import Exact
from app.api.schemas import array_of_lines, counts_document, job_document, progress
from app.api.streaming import HEARTBEAT_SECONDS, Stream
from app.domain.errors import Unavailable
from app.domain.item import Order, View
from app.service.view import JobView

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["results"])

RETRY_MS = 1_000
LATER_RETRY_MS = 15_000
PROGRESS_SECONDS = 0.5
BATCH_LINES_MAX = 250
BATCH_BYTES_MAX = 64 << 10
BATCH_SECONDS = 0.2
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
    last_id = _parsed(request.headers.get("last-event-id"))
    view = await context.jobs.get(job_id)
    reader = _Reader(context, job_id, include, order, after if last_id is None else last_id)
    if last_id is not None and view.job.status.finished and last_id >= reader.final_cursor(view):
        return Response(status_code=204, headers=STREAM_HEADERS)
    if no_more_streams(context):
        return Response(reader.only_event(view), headers=STREAM_HEADERS, media_type="text/event-stream")
    return Stream(reader.events(), headers=STREAM_HEADERS, media_type="text/event-stream")


def no_more_streams(context: Context) -> bool:
    """Whether as many streams are open as may be."""
    return sum(context.traffic.readers.values()) >= context.settings.max_streams


def wait_a_while() -> Response:
    """What a stream answers that cannot be had yet; a 503 a browser would take as the end for good (9.2.3)."""
    retry = b"retry: %d\n\n" % LATER_RETRY_MS
    return Response(retry, headers=STREAM_HEADERS, media_type="text/event-stream")


class _Reader:
    """One connection."""

    def __init__(
        self, context: Context, job_id: str, include: Include | None, order: Order, cursor: int
    ) -> None:
        self._context = context
        self._job_id = job_id
        self._view = View(order, "failed" if include == "failures" else None) if include else None
        self._cursor = cursor

    def only_event(self, view: JobView) -> bytes:
        """How the job is now, and that there is more in a while."""
        return b"retry: %d\n" % LATER_RETRY_MS + self._job_event("job", view)

    async def events(self) -> AsyncIterator[bytes]:
        with self._context.traffic.reading("job"):
            async for event in self._events():
                yield event

    async def _events(self) -> AsyncIterator[bytes]:
        jobs, clock = self._context.jobs, self._context.clock
        shown = await jobs.get(self._job_id)
        yield b"retry: %d\n" % RETRY_MS + self._job_event("job", shown)
        progress_at = results_at = 0.0
        sent_at = clock.monotonic()
        while True:
            bell = jobs.bell(self._job_id)
            seen = bell.rings if bell else 0
            view = await jobs.get(self._job_id)
            now = clock.monotonic()
            if view.job.status != shown.job.status and not view.job.status.finished:
                yield self._job_event("job", view)
                shown, sent_at = view, now
            elif (
                view.counts != shown.counts
                and not view.job.status.finished  # which `end` will say, after the last results
                and now - progress_at >= PROGRESS_SECONDS
            ):
                yield self._event("progress", _progress_document(view), view)
                shown, progress_at, sent_at = view, now, now
            full = False
            if self._view is not None and (bell is None or now - results_at >= BATCH_SECONDS):
                page = await jobs.results(
                    self._job_id, self._view, self._cursor, BATCH_LINES_MAX, BATCH_BYTES_MAX
                )
                if page.count:
                    self._cursor = page.next_after
                    yield self._event("results", {"results": array_of_lines(page.lines)}, view)
                    full = (
                        bell is None
                        or page.count >= BATCH_LINES_MAX
                        or len(page.lines) > BATCH_BYTES_MAX // 2
                    )
                    results_at, sent_at = (results_at if full else now), now
            if full:
                continue
            if bell is None:
                yield self._job_event("end", view)
                return
            if jobs.closing.is_set():
                # Everybody's server is gone at the same moment; let them not come back at the same one.
                yield b"retry: %d\n" % random.randint(1_000, 5_000) + self._job_event("job", view)
                return
            await bell.wait(seen, self._patience(now, view.counts != shown.counts, progress_at, results_at))
            if clock.monotonic() - sent_at >= HEARTBEAT_SECONDS:
                yield b": ping\n"
                sent_at = clock.monotonic()

    def final_cursor(self, view: JobView) -> int:
        """The cursor when everything was delivered."""
        return view.counts.failed if self._view and self._view.outcome == "failed" else view.counts.done

    def _patience(self, now: float, behind: bool, progress_at: float, results_at: float) -> float:
        """Seconds until there may be something to send even if nothing more happens."""
        due = [now + HEARTBEAT_SECONDS]
        if behind:
            due.append(progress_at + PROGRESS_SECONDS)
        if self._view is not None and now < results_at + BATCH_SECONDS:
            due.append(results_at + BATCH_SECONDS)
        return max(0.01, min(due) - now)

    def _job_event(self, name: str, view: JobView) -> bytes:
        return self._event(name, job_document(view), view)

    def _event(self, name: str, document: dict[str, Any], view: JobView) -> bytes:
        cursor = self._cursor if self._view is not None else view.counts.done
        return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), cursor, msgspec.json.encode(document))


def _progress_document(view: JobView) -> dict[str, Any]:
    return {
        "status": view.job.status,
        "counts": counts_document(view),
        "progress": progress(view),
        "items_per_second": view.items_per_second and round(view.items_per_second, 1),
        "eta_seconds": view.eta_seconds and round(view.eta_seconds, 1),
    }


def _parsed(last_event_id: str | None) -> int | None:
    """The cursor in a `Last-Event-ID`; one that is none counts as absent."""
    if last_event_id is None or not last_event_id.isdecimal() or len(last_event_id) > 18:
        return None
    return int(last_event_id)
