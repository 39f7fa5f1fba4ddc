"""Server-sent events of all jobs and of the workers, for a dashboard (HTML standard, section 9.2).

How it works: twice a second a connection looks up which jobs changed since its last look, and reads them as they are
then.  It holds a number and nothing else, so a slow reader sees fewer states in between, and costs nothing.  One that
reconnects with the number goes on from there, as long as the changes since are known.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from app.api import service_models
from app.api.context import AnyPhase, Context
from app.api.events import STREAM_HEADERS, last_event_id, no_more_streams, wait_a_while
from app.api.job_page import JobPage
from app.api.openapi import events as event_content
from app.api.openapi import header, returns
from app.api.pool import pools_document
from app.api.query import Exact
from app.api.streaming import HEARTBEAT_SECONDS, Stream
from app.api.viewer import RETRY_MS
from app.domain.errors import Gone, NotFound, Unavailable
from app.domain.store import Query

router = APIRouter(route_class=Exact, prefix="/v1", tags=["events"])

LOOK_SECONDS = 0.5
POOL_SECONDS = 1.0
JOBS_MAX = 100
"""In one event; of more that changed, those that changed last."""
NEWEST = 50
"""Jobs in the first event."""


@router.get(
    "/events",
    responses={
        200: returns(
            "Events, until the service stops.",
            content=event_content({"jobs": service_models.ChangedJobs, "pool": service_models.Pools}),
        )
    },
    openapi_extra={"parameters": [header("Last-Event-ID", "the `id` of the last event you have")]},
)
async def get_all_events(request: Request, context: AnyPhase) -> Response:
    """Jobs as they change, at most twice a second, and the workers, at most once: what a dashboard shows."""
    try:
        await context.jobs.wait_ready()
    except Unavailable:
        return wait_a_while()
    if no_more_streams(context):
        return wait_a_while()
    return Stream(
        _events(context, last_event_id(request)), headers=STREAM_HEADERS, media_type="text/event-stream"
    )


async def _events(context: Context, last: int | None) -> AsyncIterator[bytes]:
    jobs, clock = context.jobs, context.clock
    closing = asyncio.ensure_future(jobs.closing.wait())
    try:
        with context.traffic.reading("all"):
            seen = context.changes.number
            yield b"retry: %d\n" % RETRY_MS + _event("jobs", seen, await _first(context, last))
            pool, pool_at, sent_at = b"", float("-inf"), clock.monotonic()
            while not jobs.closing.is_set():
                now = clock.monotonic()
                if context.changes.number != seen:
                    changed, seen = list(context.changes.since(seen, context.caller)), context.changes.number
                    if changed:
                        yield _event("jobs", seen, await _changed(context, changed))
                        sent_at = now
                if now - pool_at >= POOL_SECONDS:
                    pool_at, before, pool = now, pool, _event("pool", seen, pools_document(context))
                    if pool != before:
                        yield pool
                        sent_at = now
                if now - sent_at >= HEARTBEAT_SECONDS:
                    yield b": ping\n"
                    sent_at = now
                await asyncio.wait([closing], timeout=LOOK_SECONDS)
            # Everybody's server is gone at the same moment; let them not come back at the same one.
            nothing = {"jobs": [], "removed": [], "more": 0, "reset": False}
            yield b"retry: %d\n" % random.randint(1_000, 5_000) + _event("jobs", seen, nothing)
    finally:
        closing.cancel()


async def _first(context: Context, last: int | None) -> dict[str, Any]:
    """What changed since the last event that the reader has, if that can be told in one; else the newest jobs."""
    if last is not None and context.changes.reach(last):
        changed = list(context.changes.since(last, context.caller))
        if len(changed) <= JOBS_MAX:
            return await _changed(context, changed)
    newest = JobPage()
    for view in await context.jobs.list(Query(NEWEST)):
        await newest.add(view)
    return {"jobs": list(map(msgspec.Raw, newest.jobs)), "removed": [], "more": 0, "reset": True}


async def _changed(context: Context, job_ids: list[str]) -> dict[str, Any]:
    """The jobs as they are now, and those that are no more."""
    there, removed = JobPage(), []
    for job_id in islice(job_ids, JOBS_MAX):
        try:
            await there.add(await context.jobs.get(job_id))
        except (NotFound, Gone):
            removed.append(job_id)
    more = max(0, len(job_ids) - JOBS_MAX)
    return {"jobs": list(map(msgspec.Raw, there.jobs)), "removed": removed, "more": more, "reset": False}


def _event(name: str, number: int, document: object) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), number, msgspec.json.encode(document))
