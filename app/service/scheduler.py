"""Which items of which job go to a worker next.

How it works: jobs that want a worker share its time fairly (`FairShare`), by what their chunks are estimated to
take and, once they ended, took.  A job whose next items are not in memory steps aside while they are read, and one
whose task limits itself (`Throttles`) until it may go on.  Who is alone is given long chunks (`Company`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from app.domain.chunking import BYTES_MAX, TARGET_SECONDS, staggered
from app.domain.clock import Clock
from app.domain.engine import Chunk, Engine, Room
from app.domain.errors import ServiceError
from app.domain.item import Block
from app.domain.job import Status
from app.domain.share import WEIGHTS, FairShare
from app.domain.throttle import Limit
from app.service.company import Company
from app.service.items import ItemCache
from app.service.live import LiveJob
from app.service.standing import Standing, Standings
from app.service.throttles import Throttles

SHORT_SECONDS = 0.010
"""Behind a chunk of less than this another may be sent, so that its worker never waits."""
ASSUMED_SECONDS = 0.001
"""What an item is taken to cost before one has been measured."""
USUAL_WEIGHT = 0.4
"""Of what an item of a task took last, in what one usually takes."""

ASIDE_AT_ONCE = 100
"""Of jobs whose task may start nothing now, before others have the loop."""
LOADS_MAX = 16
"""Jobs that are read at the same time, so that a restart with many does not read them all at once."""

log = logging.getLogger(__name__)


class Scheduler:
    """Cuts chunks out of the jobs that want a worker."""

    def __init__(
        self,
        engine: Engine,
        items: ItemCache,
        resume: Callable[[LiveJob], Awaitable[None]],
        on_change: Callable[[], None],
        clock: Clock,
    ) -> None:
        """`resume` finds out which items of a job of before the restart wait; `on_change` hears of jobs that, by
        themselves, have come to want a worker.
        """
        self._engine = engine
        self._shares: dict[str, FairShare[LiveJob]] = {pool: FairShare() for pool in engine.pools()}
        self._company: Company[LiveJob] = Company(engine.pools(), engine.recall, engine.taken)
        self._clock = clock
        self._items = items
        self._resume = resume
        self._loading = 0
        """Jobs that something is read for."""
        self._on_change = on_change
        self._chunk_ids = 0
        self._charged: dict[int, float] = {}
        self._usual: dict[str, float] = {}
        """Seconds that an item took lately, by task."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttles = Throttles(engine.tasks, clock, self.refresh, on_change)
        self._standings = Standings(self._shares, clock)

    def refresh(self, live: LiveJob) -> None:
        """Whether the job wants a worker, or with which priority, may have changed."""
        if not live.wants_worker:
            self._throttles.leave(live)
            self._step_aside(live)
        elif live not in self._throttles:
            if live not in self._shares[live.pool]:
                self._settle(live.pool)
            self._shares[live.pool].join(live, _weight(live), live.virtual_time, live.place)

    def wanted(self) -> list[str]:
        """The pools in which a job wants a worker."""
        return [pool for pool, share in self._shares.items() if len(share)]

    def next(self, pool: str, workers: int, room: Callable[[LiveJob], Room]) -> tuple[LiveJob, Chunk] | None:
        """The chunk to run next, taken off its job; None if there is none, or no room for it.

        If there is no room for the job whose turn it is, nobody else is served: its room would never come.
        """
        share, aside = self._shares[pool], 0
        while (live := share.first()) is not None:
            if (allowed := self._throttles.allowed(live)) == 0:
                if aside == ASIDE_AT_ONCE:
                    asyncio.get_running_loop().call_soon(self._on_change)
                    return None
                aside += 1
                self._step_aside(live)
                self._throttles.wait(live)
                continue
            there_is = room(live)
            # Behind another chunk is too late for a start that was allowed now, and too early to read what will run.
            unready = allowed is not None or not live.resumed
            if there_is == "none" or (there_is != "idle" and unready):
                self._no_room(pool, live)
                return None
            if not live.resumed:
                if not self._load(live, partial(self._resume, live)):
                    return None
                continue
            seconds = self._company.chunk_seconds(pool, len(share), self._clock.monotonic())
            if seconds <= TARGET_SECONDS:
                seconds = staggered(seconds, self._chunk_ids)
            first, count = live.next_items(workers, seconds, self._usual.get(live.job.task))
            if not self._may_wait(there_is, live, count, seconds):
                self._no_room(pool, live)
                return None
            if self._items.reader(live.job.id, first) is None:
                block = self._items.pop(live.job.id, first)
                if block is None:
                    if not self._load(live, partial(self._fetch, live, first)):
                        return None
                    continue
                self._read_from(live, block)
            return live, self._cut(live, first, count if allowed is None else min(count, allowed), seconds)
        return None

    def _no_room(self, pool: str, live: LiveJob) -> None:
        """It is the job's turn, and all workers are busy."""
        self._company.waits(pool, self._clock.monotonic(), live if len(self._shares[pool]) == 1 else None)

    def make_room(self, pool: str) -> None:
        """Something other than a job waits for a worker of the pool."""
        self._company.waits(pool, self._clock.monotonic())

    def standing(self, live: LiveJob) -> Standing | None:
        """Where the job stands among those that want a worker; None if it wants none now."""
        return self._standings.of(live)

    def part(self, live: LiveJob) -> float:
        """Which part of its pool's worker time the job, which has begun, is due and can make use of.

        While it is at a limit of its own it wants none; that it soon does again is reckoned with.
        """
        share = self._shares[live.pool]
        due = share.part(live) if live in share else share.part_of_another(_weight(live))
        places = max(1, self._engine.size(live.pool)) * live.concurrency
        usable = min(live.job.options.max_in_flight or places, self._throttles.places(live))
        return min(due, usable / places)

    def queue_position(self, live: LiveJob) -> int | None:
        """How many jobs are served before the first item of this one; None once it has started, or wants nothing."""
        standing = self._standings.of(live) if live.job.status is Status.QUEUED else None
        return standing.ahead if standing else None

    def limit(self, live: LiveJob) -> Limit | None:
        """Which limit of its task the job waits for, if it does."""
        return self._throttles.limit(live)

    def first_is_alone(self, pool: str) -> bool:
        """Whether what runs next in the pool is to run with nothing beside it."""
        live = self._shares[pool].first()
        return live is not None and live.next_alone

    def ended(self, live: LiveJob, chunk: Chunk, seconds: float | None, unstarted: int) -> None:
        """The chunk took its worker this long, and `unstarted` of its items were not started.

        The job's charge is corrected, if the time is known.
        """
        self._company.ended(live.pool, chunk)
        if seconds is not None and unstarted < chunk.count:
            self._took(live.job.task, seconds / (chunk.count - unstarted))
        charged = self._charged.pop(chunk.id, 0.0)
        if seconds is not None:
            self._charge(live, seconds - charged)
        self._throttles.ended(live, unstarted)
        self.refresh(live)

    def recalled(self, live: LiveJob, chunk: Chunk, count: int) -> None:
        """So many of the chunk's items were taken back before they started, and wait again."""
        back = self._charged[chunk.id] * count / chunk.count
        self._charged[chunk.id] -= back
        self._charge(live, -back)
        self._throttles.give_back(live, count)
        self.refresh(live)

    def stop(self) -> None:
        self._throttles.stop()
        for task in self._tasks:
            task.cancel()

    def _cut(self, live: LiveJob, first: int, count: int, seconds: float) -> Chunk:
        reader, options = self._items.reader(live.job.id, first), live.job.options
        assert reader is not None, "it was looked up"
        ahead, exactly = live.ahead(reader.indexes, count), options.chunksize != "auto"
        lines, ranges = reader.take_some(ahead, count, BYTES_MAX, exactly=exactly)
        self._items.used(live.job.id)
        first, count = ranges[0][0], sum([stop - first for first, stop in ranges])
        estimate = live.chunker.estimate(count)
        self._chunk_ids += 1
        trouble = live.troubles.get(first) if live.troubles else None
        chunk = Chunk(
            id=self._chunk_ids,
            task=live.job.task,
            params=msgspec.json.encode(live.job.params),
            first=first,
            count=count,
            lines=lines,
            timeout_seconds=live.timeout_seconds,
            attempt=trouble.attempts + 1 if trouble else 1,
            max_attempts=options.max_attempts,
            key_field=options.key_field,
            short=self._is_short(live, count),
            long=estimate is not None and min(seconds, estimate) > TARGET_SECONDS,
            concurrency=live.concurrency,
            alone=trouble is not None and trouble.alone,
            light=count > 1 and trouble is None and live.light(ranges),
            ranges=ranges if len(ranges) > 1 else (),
        )
        live.sent(chunk)
        self._company.sent(live.pool, live, chunk)
        charge = estimate if estimate is not None else ASSUMED_SECONDS * count
        self._charged[chunk.id] = charge
        live.share = self.part(live)
        self._throttles.started(live, count)
        self.refresh(live)  # before it is charged: who wants nothing more needs no further turn
        self._charge(live, charge)
        return chunk

    def _may_wait(self, there_is: Room, live: LiveJob, count: int, seconds: float) -> bool:
        """Whether `count` items may go where there is this room, even if they wait there behind others.

        After a long chunk, only items of the same job may, while it is alone and its chunks do not get smaller yet: the
        rest is shared out at the job's end.
        """
        if there_is == "after":
            estimate = live.chunker.estimate(count) or 0.0
            return TARGET_SECONDS < seconds < 2 * estimate and self._company.is_only(live.pool, live)
        return there_is == "idle" or self._is_short(live, count)

    def _is_short(self, live: LiveJob, count: int) -> bool:
        """Whether `count` items will not take long, judged by the job's own, or, if it is new, by others of its task.

        For jobs of one item each there is nothing else to judge by.
        """
        estimate = live.chunker.estimate(count)
        if estimate is None:
            estimate = self._usual.get(live.job.task, SHORT_SECONDS) * count
        return estimate < SHORT_SECONDS

    def _took(self, task: str, seconds: float) -> None:
        """An item of the task took so long.  A longer time is believed at once, a shorter one little by little."""
        usual = self._usual.get(task, seconds)
        self._usual[task] = max(seconds, usual + USUAL_WEIGHT * (seconds - usual))

    def _charge(self, live: LiveJob, seconds: float) -> None:
        share = self._shares[live.pool]
        if live in share:
            share.charge(live, seconds)
        else:  # it wants nothing more, or nothing now; what it took is its all the same
            live.virtual_time += share.charge_absent(_weight(live), seconds)
            live.place = None

    def _settle(self, pool: str) -> None:
        """Let long chunks be charged with what they have taken so far: who comes now starts from there."""
        for number, live, seconds in self._company.taken(pool):
            self._charge(live, seconds - self._charged[number])
            self._charged[number] = seconds

    def _step_aside(self, live: LiveJob) -> None:
        share = self._shares[live.pool]
        if live in share:
            live.place = share.place(live)
            live.virtual_time = share.leave(live)

    def _read_from(self, live: LiveJob, block: Block) -> None:
        """Read from this block now, and have the next one ready when it is used up."""
        self._items.read_from(live.job.id, block)
        stop = block.stop
        if live.todo and live.todo[-1][1] > stop and (live.job.id, stop) not in self._items:
            self._start(self._prefetch(live, stop))

    def _load(self, live: LiveJob, read: Callable[[], Awaitable[None]]) -> bool:
        """Let the job step aside while what it needs is read; False if that is to wait for others' reading."""
        if self._loading >= LOADS_MAX:
            return False
        self._loading += 1
        live.loading = True
        self.refresh(live)
        self._start(self._read(live, read))
        return True

    async def _read(self, live: LiveJob, read: Callable[[], Awaitable[None]]) -> None:
        """Read, however often that takes, and let the job take part again."""
        delay = 0.1
        while not live.over:
            try:
                await read()
                break
            except Exception as error:
                level = logging.WARNING if isinstance(error, ServiceError) else logging.ERROR
                unexpected = None if isinstance(error, ServiceError) else error
                log.log(
                    level, "job %s cannot be read, trying again: %s", live.job.id, error, exc_info=unexpected
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)
        self._loading -= 1
        live.loading = False
        self.refresh(live)
        self._on_change()

    async def _fetch(self, live: LiveJob, index: int) -> None:
        """Read the block with the item."""
        block = await self._items.load(live.job.id, index)
        if not live.job.status.finished:
            self._read_from(live, block)

    async def _prefetch(self, live: LiveJob, index: int) -> None:
        try:
            block = await self._items.load(live.job.id, index)
            if not live.job.status.finished:
                self._items.put(live.job.id, block)
        except Exception as error:
            log.warning("job %s: items from %d on are not read ahead: %s", live.job.id, index, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _weight(live: LiveJob) -> float:
    return WEIGHTS[live.job.options.priority]
