"""Feeds the engine, and puts what comes back into the log.

How it works: `pump` fills whatever room the engine has with chunks from the scheduler.  The engine's reports
become segments that the `Writer` stores; only then are finished jobs let go and readers woken: log first, notify
second.

Invariant: an item's result is in the log exactly once, and what a reader was told is in the log.
"""

import asyncio
import gc
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from app.domain.apart import segments
from app.domain.clock import Clock
from app.domain.engine import Chunk, Engine, PoolName, Room
from app.domain.errors import ServiceError, UnknownTask, problem_of
from app.domain.halt import Receipt, reason
from app.domain.item import Block, failure_line
from app.domain.job import Event, Job, Status, runs_otherwise, step
from app.domain.retry import backoff_seconds, runs_again
from app.domain.store import JobStore, Note
from app.service.backlog import Backlog
from app.service.changes import Changes
from app.service.checking import Checking, pool_of
from app.service.deadlines import Deadlines
from app.service.ending import Ending
from app.service.feed import Bell
from app.service.items import ItemCache
from app.service.keyed import Key, Keys
from app.service.live import LiveJob
from app.service.resuming import resume
from app.service.scheduler import Scheduler
from app.service.tally import Tallies
from app.service.timetable import Timetable
from app.service.writer import Writer

TAKEN_UP_AT_ONCE = 100
"""Of unfinished jobs at the start, before others have the loop; who looks for garbage looks at none of them."""
GIVEN_AT_ONCE = 20
"""Chunks, likewise: hundreds of workers may have room at the same moment."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Owns every unfinished job.  Not thread-safe: all of it runs on the event loop."""

    def __init__(
        self, store: JobStore, engine: Engine, clock: Clock, chance: Callable[[], float] = random.random
    ) -> None:
        self._chance = chance
        self._store = store
        self._engine = engine
        self._clock = clock
        self._items = ItemCache(store)
        self.scheduler = Scheduler(engine, self._items, partial(resume, store), self.pump, clock)
        self.chunks: dict[int, LiveJob] = {}
        """Whose chunks these are; each is with a worker."""
        self.backlog = Backlog()
        self._writer = Writer(store, clock, self.backlog, self._stored)
        self.stored, self.touch = self._writer.stored, self._writer.touch
        self._deadlines = Deadlines(clock, partial(self._halt, why=Event.TIMED_OUT))
        self._retries: Timetable[tuple[str, int]] = Timetable(self._due)
        self._keys = Keys()
        self._accepting = True
        self.live: dict[str, LiveJob] = {}
        self.tallies = Tallies()
        """Of these, by caller."""
        self.paused_pools: set[PoolName] = set()
        """Those in which no item starts."""
        self.changes = Changes(clock.now())
        self.bell = Bell()
        """Rings whenever any job changes."""
        self.checking = Checking(engine, self, self.scheduler.make_room)

    async def start(self) -> None:
        """Take up every unfinished job where its log ends; where that is, is looked up when its turn comes.

        If that fails, nothing runs.
        """
        # While the workers start, which is another process's work.
        reading = asyncio.ensure_future(self._store.unfinished_jobs())
        try:
            await self._engine.start(self.checking)
        except BaseException:
            reading.cancel()
            raise
        try:
            for number, job in enumerate(await reading):
                self._take_up(job, None)
                if number % TAKEN_UP_AT_ONCE == 0:
                    gc.freeze()
                    await asyncio.sleep(0)
        except BaseException:
            await self._engine.stop()
            raise
        self._writer.start()
        self.pump()

    async def drain(self, seconds: float) -> None:
        """Start nothing new, and give what runs this long to end."""
        self._accepting = False
        for chunk_id in self.chunks:  # after the items that run, none: the rest can run after the next start
            self._engine.recall(chunk_id)
        deadline = self._clock.monotonic() + seconds
        while self.chunks and (left := deadline - self._clock.monotonic()) > 0:
            await self.bell.wait(self.bell.rings, left)

    async def stop(self) -> None:
        """End the workers, and write what they had finished.  What was running will run after the next start."""
        self._accepting = False
        await self._engine.stop()
        self._keys.stop()
        self.scheduler.stop()
        self._deadlines.stop()
        await self._writer.stop()

    # -- What the service asks for

    def submitted(self, job: Job, blocks: Sequence[Block] = ()) -> LiveJob:
        """The stored job may run.  `blocks` are its first items, if they are at hand."""
        self._items.put(job.id, *blocks)
        live = self._take_up(job, [(0, job.counts.total)] if job.counts.total else [])
        self.pump()
        return live

    def grown(self, live: LiveJob, blocks: Sequence[Block]) -> None:
        """These further items of the job are stored, and may run."""
        self._items.put(live.job.id, *blocks)
        live.grow(sum(block.count for block in blocks))

    async def cancel(self, live: LiveJob, *, force: bool = False) -> Receipt:
        """No item starts any more; running ones are asked to end, and made to after a grace, or by force at once.

        Returns once this is stored.
        """
        if live.halt is not None:
            killed = await Ending(self._engine.kill, live.chunks).signalled() if force else 0
            if live.job.status is Status.CANCELLING:
                await self._writer.written(live)  # who asked before may not have been answered yet
            return Receipt(0, killed)
        unfinished = live.waiting + live.out
        status = step(live.job.status, Event.CANCEL_ASKED)
        live.job = replace(live.job, status=status, cancel_requested_at=self._clock.now())
        ending = self._halt(live, Event.CANCEL_ASKED)
        if force:
            Ending(self._engine.kill, live.chunks)
        signalled = await ending.signalled()
        await self._writer.written(live)
        return Receipt(unfinished - signalled, signalled)

    async def change(self, live: LiveJob, job: Job) -> None:
        """The job, which is live, is this from now on, and what follows from that happens at once.

        Items not begun come back where they would run otherwise now, or not at all.  Returns once this is stored.
        """
        before, live.job = live.job, job
        if job.status is Status.PAUSED or runs_otherwise(before.options, job.options):
            self.recall(live)
        if live.failing:
            self._halt(live, Event.TOO_MANY_FAILURES)
        self._deadlines.set(live)
        self.scheduler.refresh(live)
        await self._writer.written(live)

    def looked_at(self, live: LiveJob) -> None:
        """Somebody looks at the job; what it has brought is not to wait for more."""
        if live.unwritten and live.resting:
            self._writer.hasten()

    def recall(self, live: LiveJob) -> None:
        """Have items that a worker has not begun come back."""
        for chunk_id in live.chunks:
            self._engine.recall(chunk_id)

    @property
    def trouble(self) -> ServiceError | None:
        """Why nothing can be stored now; until it can, no item starts."""
        return self._writer.trouble

    def pump(self) -> None:
        """Give the engine as much as it has room for, some chunks at a time, so that others get the loop in between."""
        wanted = self.scheduler.wanted()
        if not wanted or not self._accepting or self.trouble or self.backlog.stops_all:
            return
        pools = [pool for pool in wanted if pool not in self.paused_pools]
        if len(pools) > 1:
            # Who must run alone waits until nothing runs in any pool: until then no other pool gets anything new.
            pools = [pool for pool in pools if self.scheduler.first_is_alone(pool)] or pools
        given = 0
        for pool in pools:
            workers = self._engine.size(pool)
            while found := self.scheduler.next(pool, workers, partial(self._room, pool)):
                live, chunk = found
                self.chunks[chunk.id] = live
                self._engine.run(chunk, pool)
                if live.job.status is Status.QUEUED:
                    self._started(live)
                given += 1
                if given == GIVEN_AT_ONCE:
                    asyncio.get_running_loop().call_soon(self.pump)
                    return

    def _room(self, pool: str, live: LiveJob) -> Room:
        return self._engine.room(pool, concurrency=live.concurrency, alone=live.next_alone)

    # -- What the engine reports

    def room(self) -> None:
        self.pump()

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        live = self.chunks[chunk_id]
        live.out -= count
        for part in segments(live.chunks[chunk_id], first, count, failed, lines, files):
            self._log(live, *part)

    def unlucky(self, chunk_id: int, place: int, error: Mapping[str, Any]) -> None:
        live = self.chunks[chunk_id]
        live.out -= 1
        index = live.chunks[chunk_id].index(place)
        trouble = live.trouble(index)
        trouble.attempts += 1
        self._note(live, index, error=error)
        self._try_again(live, index, trouble.attempts)

    def printed(self, chunk_id: int, place: int, text: str) -> None:
        live = self.chunks[chunk_id]
        if len(text) <= live.log_chars_left:
            live.log_chars_left -= len(text)
            self._note(live, live.chunks[chunk_id].index(place), log=text)

    def progress(self, chunk_id: int, place: int, share: float, message: str) -> None:
        live = self.chunks[chunk_id]
        live.progress[live.chunks[chunk_id].index(place)] = (share, message)
        live.ring()

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        live = self.chunks.pop(chunk_id)
        chunk = live.chunks.pop(chunk_id)
        if stop > chunk.first:
            live.took(stop - chunk.first, seconds)
        live.give_back(chunk, stop, chunk.stop)
        self._through(live, chunk, seconds, chunk.stop - stop)

    def recalled(self, chunk_id: int, stop: int) -> None:
        live = self.chunks[chunk_id]
        chunk = live.chunks[chunk_id]
        self.scheduler.recalled(live, chunk, live.take_back(chunk, stop))
        self._writer.touch(live)

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        live = self.chunks[chunk_id]
        tell = partial(self._lost, chunk_id, first, culprit, error)
        self._keys.find(live.chunks[chunk_id], culprit, live.job.options.key_field, tell)

    def _lost(
        self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any], key: Key
    ) -> None:
        """The same, once it is known which key the culprit has; until then the chunk is taken to be with its worker."""
        live = self.chunks.pop(chunk_id)
        chunk = live.chunks.pop(chunk_id)
        if culprit is None:
            if chunk.light:
                live.suspects.add(chunk.among(first, chunk.stop))
            live.give_back(chunk, first, chunk.stop)
        else:
            live.out -= 1
            live.give_back(chunk, culprit + 1, chunk.stop)
            live.give_back(chunk, first, culprit)
            self._charge(live, chunk.index(culprit), dict(error), key)
        self._through(live, chunk, None, 0 if culprit is None else chunk.stop - culprit - 1)

    def _through(self, live: LiveJob, chunk: Chunk, seconds: float | None, unstarted: int) -> None:
        """No worker has the chunk any more; `unstarted` of its items were certainly not started."""
        self.scheduler.ended(live, chunk, seconds, unstarted)
        self._writer.touch(live)
        self.bell.ring()  # a drain may wait for just this

    def _charge(self, live: LiveJob, index: int, error: dict[str, Any], key: Key) -> None:
        """The item took its worker down: it runs again, or that was its result."""
        if live.halt is not None:
            live.try_again(index)  # which drops it: who is cancelled has not failed
            return
        trouble = live.trouble(index)
        if error["kind"] == "out_of_memory" and not trouble.alone:
            # It began last, which does not make it the one that took most: let it show what it takes by itself.
            trouble.alone = True
            live.try_again(index)
            return
        trouble.attempts += 1
        trouble.deaths += 1
        if runs_again(trouble.attempts, trouble.deaths, live.job.options.max_attempts):
            self._note(live, index, error=error, death=True)
            self._try_again(live, index, trouble.attempts)
            return
        self._log(live, index, 1, 1, failure_line(index, key, error, trouble.attempts))

    def _try_again(self, live: LiveJob, index: int, attempts: int) -> None:
        """The item runs again, after a while."""
        base = self._engine.tasks()[live.job.task]["defaults"]["backoff_seconds"]
        live.postpone(index)
        self._retries.set((live.job.id, index), backoff_seconds(base, attempts, self._chance()))

    def _due(self, item: tuple[str, int]) -> None:
        if (live := self.live.get(item[0])) is not None:
            live.due(item[1])
            self.scheduler.refresh(live)
            self.pump()

    def _note(
        self,
        live: LiveJob,
        index: int,
        *,
        error: Mapping[str, Any] | None = None,
        log: str | None = None,
        death: bool = False,
    ) -> None:
        trouble = live.troubles.get(index)
        attempt = max(trouble.attempts, 1) if trouble else 1
        self._writer.note(live, Note(live.job.id, index, attempt, self._clock.now(), error, log, death))

    # -- Jobs

    def _take_up(self, job: Job, todo: Sequence[tuple[int, int]] | None) -> LiveJob:
        task = self._engine.tasks().get(job.task)
        pool = pool_of(self._engine, task)
        concurrency = task["concurrency"] if task else 1
        job = replace(job, error=None) if job.error else job  # that it was held before says nothing about now
        tally, now = self.tallies.begin(job.submitted_by), self._clock.monotonic()
        live = LiveJob(
            job, todo, pool, concurrency, now=now, changes=self.changes, tally=tally, backlog=self.backlog
        )
        self.live[job.id] = live
        if job.status is Status.CANCELLING:
            self._halt(live, Event.CANCEL_ASKED)
        elif task is None:
            live.held = True
            detail = f"No task is called {job.task!r} here now; the job goes on once it is loaded again."
            live.job = replace(job, error=problem_of(UnknownTask(detail)))
            log.warning("job %s is held: %s", job.id, detail)
        elif live.failing:
            self._halt(live, Event.TOO_MANY_FAILURES)
        self._deadlines.set(live)
        self.scheduler.refresh(live)
        if not live.waiting:
            self._writer.touch(live)
        return live

    def _started(self, live: LiveJob) -> None:
        started_at = max(self._clock.now(), live.job.created_at)  # the wall clock may have been put back
        live.job = replace(live.job, status=step(live.job.status, Event.STARTED), started_at=started_at)
        self._writer.touch(live)
        live.ring()
        self.bell.ring()

    def _halt(self, live: LiveJob, why: Event) -> Ending:
        """End the job early, keeping what is done; its running items are asked to end."""
        if live.halt is not None:
            return Ending(self._engine.cancel, ())
        live.halt = why
        if told := reason(why, live.job.options):
            live.job = replace(live.job, error=told)
        live.drop_waiting()
        ending = Ending(self._engine.cancel, live.chunks)
        self.scheduler.refresh(live)
        self._writer.touch(live)
        return ending

    def _log(
        self, live: LiveJob, first: int, count: int, failed: int, lines: bytes, files: Sequence[str] = ()
    ) -> None:
        self._writer.add(live, live.log(first, count, failed, lines), files)
        if live.failing:
            self._halt(live, Event.TOO_MANY_FAILURES)

    def _stored(self, lives: Sequence[LiveJob]) -> None:
        """These jobs are in the store as they are here now."""
        for live in lives:
            if live.job.status.finished:
                del self.live[live.job.id]
                self.tallies.end(live.job.submitted_by)
                self._items.forget(live.job.id)
                self._deadlines.forget(live)
                live.ring_end()
            else:
                self.scheduler.refresh(live)  # stored results make room under `max_in_flight`
            live.ring()
        self.bell.ring()
        self.pump()
