"""Feeds the engine, and puts what comes back into the log.

How it works: `pump` fills whatever room the engine has with chunks from the scheduler.  The engine's reports
become segments that wait in `_pending`; one coroutine appends all that wait in a single transaction, and only
then are counts changed, finished jobs let go, and readers woken: log first, notify second.

Invariant: an item's result is in the log exactly once, and what a reader was told is in the log.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.domain.clock import Clock
from app.domain.engine import Chunk, Engine
from app.domain.item import Block, Segment, failure_line, holes, key_of
from app.domain.job import Event, Job, Status, step
from app.domain.retry import runs_again
from app.domain.store import JobStore
from app.service.feed import Bell
from app.service.items import ItemCache
from app.service.live import LiveJob
from app.service.scheduler import Scheduler

GRACE_SECONDS = 2.0
"""How long a cancelled item may go on."""
PENDING_BYTES_MAX = 64 << 20
"""Results waiting for the store beyond this hold up new chunks."""
STATUS_DELAY_SECONDS = 0.050
"""A change of status alone waits this long for results to be written with."""
RETRY_SECONDS_MAX = 5.0
WAITING_SECONDS = 0.2

log = logging.getLogger(__name__)


class Dispatcher:
    """Owns every unfinished job.  Not thread-safe: all of it runs on the event loop."""

    def __init__(self, store: JobStore, engine: Engine, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._items = ItemCache(store)
        self._scheduler = Scheduler(engine.pools(), self._items, self.pump)
        self._chunks: dict[int, LiveJob] = {}
        self._pending: list[tuple[LiveJob, Segment]] = []
        self._pending_bytes = 0
        self._pending_files: dict[str, list[str]] = {}
        self._touched: dict[str, LiveJob] = {}
        self._unanswered: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._accepting = True
        self._waiting = 0
        self._waiting_at = -WAITING_SECONDS
        self.live: dict[str, LiveJob] = {}
        self.bell = Bell()
        """Rings whenever any job changes."""

    async def start(self) -> None:
        """Take up every unfinished job where its log ends."""
        await self._engine.start(self)
        for job in await self._store.unfinished_jobs():
            done = await self._store.done_ranges(job.id)
            self._take_up(job, holes(job.counts.total, done))
        self._appender = asyncio.get_running_loop().create_task(self._append_forever())
        self.pump()

    async def drain(self, seconds: float) -> None:
        """Start nothing new, and give what runs this long to end."""
        self._accepting = False
        for (
            chunk_id
        ) in self._chunks:  # after the items that run, none: the rest can as well run after the next start
            self._engine.recall(chunk_id, grace_seconds=seconds + GRACE_SECONDS)
        deadline = self._clock.monotonic() + seconds
        while self._chunks and (left := deadline - self._clock.monotonic()) > 0:
            await self.bell.wait(self.bell.rings, left)

    async def stop(self) -> None:
        """End the workers, and write what they had finished.  What was running will run after the next start."""
        self._accepting = False
        await self._engine.stop()
        self._scheduler.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._appender.cancel()
        await asyncio.wait([self._appender])
        if self._pending or self._touched:
            await self._append_once()

    # -- What the service asks for

    def submitted(self, job: Job, blocks: Sequence[Block] = ()) -> LiveJob:
        """The stored job may run.  `blocks` are its first items, if they are at hand."""
        for block in blocks:
            self._items.put(job.id, block)
        live = self._take_up(job, [(0, job.counts.total)] if job.counts.total else [])
        self.pump()
        return live

    async def cancel(self, live: LiveJob) -> None:
        """No item starts any more; running ones are ended after a grace.  Returns once this is stored."""
        if live.halt is not None:
            return
        status = step(live.job.status, Event.CANCEL_ASKED)
        live.job = replace(live.job, status=status, cancel_requested_at=self._clock.now())
        self._halt(live, Event.CANCEL_ASKED)
        await self._written(live)

    def waiting_items(self) -> int:
        """How many items wait in all, as it was a moment ago: adding them up takes a while."""
        now = self._clock.monotonic()
        if now - self._waiting_at > WAITING_SECONDS:
            self._waiting = sum(live.waiting for live in self.live.values())
            self._waiting_at = now
        return self._waiting

    def pump(self) -> None:
        """Give the engine as much as it has room for."""
        if not self._accepting or self._pending_bytes > PENDING_BYTES_MAX:
            return
        for pool in self._engine.pools():
            workers = self._engine.size(pool)
            while (room := self._engine.room(pool)) != "none":
                found = self._scheduler.next(pool, workers=workers, short_only=room == "behind")
                if found is None:
                    break
                live, chunk = found
                self._chunks[chunk.id] = live
                self._engine.run(chunk, pool)
                if live.job.status is Status.QUEUED:
                    self._started(live)

    # -- What the engine reports

    def room(self) -> None:
        self.pump()

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        live = self._chunks[chunk_id]
        if files:
            self._pending_files.setdefault(live.job.id, []).extend(files)
        self._log(live, first, count, failed, lines)

    def unlucky(self, chunk_id: int, index: int, error: Mapping[str, Any]) -> None:  # noqa: ARG002
        live = self._chunks[chunk_id]
        live.trouble(index).attempts += 1
        live.try_again(index)

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        live = self._chunks.pop(chunk_id)
        chunk = live.chunks.pop(chunk_id)
        if stop > chunk.first:
            live.chunker.report(stop - chunk.first, seconds)
        live.give_back(stop, chunk.first + chunk.count)
        self._scheduler.ended(live, chunk, seconds)
        self._touch(live)

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        live = self._chunks.pop(chunk_id)
        chunk = live.chunks.pop(chunk_id)
        stop = chunk.first + chunk.count
        if culprit is None:
            live.give_back(first, stop)
        else:
            live.give_back(culprit + 1, stop)
            live.give_back(first, culprit)
            self._charge(live, chunk, culprit, dict(error))
        self._scheduler.ended(live, chunk, 0.0)
        self._touch(live)

    def _charge(self, live: LiveJob, chunk: Chunk, index: int, error: dict[str, Any]) -> None:
        """The item took its worker down: it runs again, or that was its result."""
        if live.halt is not None:
            live.try_again(index)  # which drops it: who is cancelled has not failed
            return
        trouble = live.trouble(index)
        trouble.attempts += 1
        trouble.deaths += 1
        if runs_again(trouble.attempts, trouble.deaths, live.job.options.max_attempts):
            live.try_again(index)
            return
        line = chunk.lines.split(b"\n")[index - chunk.first]
        key = key_of(line, live.job.options.key_field)
        self._log(live, index, 1, 1, failure_line(index, key, error, trouble.attempts))

    # -- Jobs

    def _take_up(self, job: Job, todo: Sequence[tuple[int, int]]) -> LiveJob:
        task = self._engine.tasks().get(job.task)
        pools = self._engine.pools()
        pool = task["pool"] if task and task["pool"] in pools else pools[0]
        live = LiveJob(job, todo, pool, now=self._clock.monotonic())
        self.live[job.id] = live
        if job.status is Status.CANCELLING:
            self._halt(live, Event.CANCEL_ASKED)
        elif task is None:
            detail = f"No task is called {job.task!r} any more."
            live.job = replace(
                job, error={"type": "/problems/unknown-task", "title": "Unknown task", "detail": detail}
            )
            self._halt(live, Event.TOO_MANY_FAILURES)
        elif live.failing:
            self._halt(live, Event.TOO_MANY_FAILURES)
        self._arm_timeout(live)
        self._scheduler.refresh(live)
        if not live.waiting:
            self._touch(live)
        return live

    def _started(self, live: LiveJob) -> None:
        live.job = replace(
            live.job, status=step(live.job.status, Event.STARTED), started_at=self._clock.now()
        )
        self._touched[live.job.id] = live
        asyncio.get_running_loop().call_later(STATUS_DELAY_SECONDS, self._wake.set)
        live.bell.ring()
        self.bell.ring()

    def _arm_timeout(self, live: LiveJob) -> None:
        limit = live.job.options.job_timeout_seconds
        if limit is not None:
            spent = (self._clock.now() - live.job.created_at).total_seconds()
            loop = asyncio.get_running_loop()
            self._timers[live.job.id] = loop.call_later(
                max(0.0, limit - spent), self._halt, live, Event.TIMED_OUT
            )

    def _halt(self, live: LiveJob, why: Event) -> None:
        """End the job early, keeping what is done."""
        if live.halt is not None:
            return
        live.halt = why
        live.drop_waiting()
        for chunk_id in live.chunks:
            self._engine.recall(chunk_id, grace_seconds=GRACE_SECONDS)
        self._scheduler.refresh(live)
        self._touch(live)

    def _touch(self, live: LiveJob) -> None:
        """The job may have to be written, and may be at its end."""
        if live.job.status.finished:
            return  # its last result was in the log before its chunk's end was told
        self._touched[live.job.id] = live
        if live.idle:
            self._wake.set()

    async def _written(self, live: LiveJob) -> None:
        """Return once the job, as it is now, is stored."""
        self._touched[live.job.id] = live
        self._wake.set()
        written = asyncio.get_running_loop().create_future()
        self._unanswered.append(written)
        await written

    def _log(self, live: LiveJob, first: int, count: int, failed: int, lines: bytes) -> None:
        self._pending.append((live, live.log(first, count, failed, lines)))
        self._pending_bytes += len(lines)
        self._wake.set()
        if live.failing:
            self._halt(live, Event.TOO_MANY_FAILURES)

    # -- The log

    async def _append_forever(self) -> None:
        delay = 0.1
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._append_once()
                delay = 0.1
            except Exception:
                # Never the end of this loop: nothing would ever finish again.
                log.exception("results cannot be stored; trying again in %.1f s", delay)
                self._wake.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)

    async def _append_once(self) -> None:
        """Write all that waits in one transaction, then tell everybody."""
        pending, self._pending = self._pending, []
        files, self._pending_files = self._pending_files, {}
        touched, self._touched = self._touched, {}
        unanswered, self._unanswered = self._unanswered, []
        by_job: dict[str, list[Segment]] = {}
        for live, segment in pending:
            touched[live.job.id] = live
            by_job.setdefault(live.job.id, []).append(segment)
        now = self._clock.now()
        jobs = {live.job.id: live.after(by_job.get(live.job.id, ()), now) for live in touched.values()}
        segments = [segment for _, segment in pending]
        try:
            await self._store.append_results(segments, list(jobs.values()), files)
        except BaseException:
            self._pending[:0] = pending
            self._touched = touched | self._touched
            self._unanswered[:0] = unanswered
            for job_id, ids in files.items():
                self._pending_files[job_id] = ids + self._pending_files.get(job_id, [])
            raise
        self._pending_bytes -= sum(len(segment.lines) for segment in segments)
        for live in touched.values():
            self._stored(live, jobs[live.job.id], len(by_job.get(live.job.id, ())))
        for future in unanswered:
            if not future.done():
                future.set_result(None)
        self.bell.ring()
        self.pump()

    def _stored(self, live: LiveJob, job: Job, segments: int) -> None:
        """The job is in the store like this."""
        live.unwritten -= segments
        live.job = _merged(live.job, job)
        live.rate.note(self._clock.monotonic(), job.counts.done)
        if job.status.finished:
            del self.live[job.id]
            self._touched.pop(job.id, None)
            if timer := self._timers.pop(job.id, None):
                timer.cancel()
        elif live.idle and live.over:
            self._touch(live)
        live.bell.ring()


def _merged(now: Job, stored: Job) -> Job:
    """What was stored, and what changed while it was being stored."""
    if stored.status.finished:
        return stored
    return replace(
        stored, status=now.status, started_at=now.started_at, cancel_requested_at=now.cancel_requested_at
    )
