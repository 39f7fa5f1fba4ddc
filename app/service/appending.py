"""Items that come after their job: a job may be submitted open, and grows until it is sealed.

How it works: whoever appends says at which index its items begin.  What the job has of them already is compared
with what is stored, so that a request whose answer was lost can be sent again; the rest is added in one transaction.

Invariant: items are stored before any of them runs, and the job cannot end between the two.
"""

import asyncio
import hashlib
import sys
from collections.abc import Sequence

from app.domain.clock import Clock
from app.domain.errors import Conflict, OverQuota, TooLarge
from app.domain.item import Block, divided
from app.domain.job import Job
from app.domain.store import JobStore
from app.service.dispatcher import Dispatcher
from app.service.items import BlockReader, read_joined
from app.service.jobs import Jobs
from app.service.live import LiveJob
from app.service.naming import named_in

RETRY_AFTER_SECONDS = 5
RETRY_AFTER_SECONDS_MAX = 60


class Appending:
    """Adds items to open jobs; `items_max` may wait in each."""

    def __init__(
        self, jobs: Jobs, store: JobStore, dispatcher: Dispatcher, clock: Clock, items_max: int
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._items_max = items_max

    def of(self, jobs: Jobs) -> "Appending":
        """Those of these jobs: the ones that a caller sees."""
        return Appending(jobs, self._store, self._dispatcher, self._clock, self._items_max)

    async def check(self, job_id: str) -> None:
        """Whether items would be taken, told before they are read.

        NotFound, Gone, Unavailable, what is wrong with the storage, or OverQuota if as many wait as may.
        """
        live = self._jobs.live(job_id)
        if live is None:
            await self._jobs.get(job_id)
        self._jobs.admission.check_items()
        if live is not None and not live.job.sealed:
            self._check_window(live, 1)

    async def append(self, job_id: str, blocks: Sequence[Block]) -> int:
        """Add items, all or none, the first of which the job may already have.  Returns how many it has then.

        Conflict if it has others in their place, if there is a gap before them, or if it takes no more.
        """
        live = self._jobs.live(job_id)
        if live is None:
            job = (await self._jobs.get(job_id)).job
            if await self._new(job, blocks):
                raise Conflict(f"Job {job.id!r} is {job.status} and takes no more items.")
            return job.counts.total
        # Not to be cut short when the request is: the job must not end before it knows what it has.
        return await asyncio.shield(asyncio.ensure_future(self._grow(live, blocks)))

    async def _grow(self, live: LiveJob, blocks: Sequence[Block]) -> int:
        try:
            async with live.growing:
                new = await self._new(live.job, blocks)
                if new:
                    count = sum(block.count for block in new)
                    _check_taking(live)
                    self._check_window(live, count)
                    await self._store_items(live, new, count)
                    self._dispatcher.grown(live, new)
        finally:
            if live.over:
                self._dispatcher.touch(live)  # it could not end meanwhile
            self._dispatcher.scheduler.refresh(live)
            live.ring()
            self._dispatcher.pump()
        return live.job.counts.total

    async def _store_items(self, live: LiveJob, blocks: Sequence[Block], count: int) -> None:
        files = await named_in(*(block.lines for block in blocks))
        async with self._jobs.quotas.file() as taking:
            await taking.add(count, sum(len(block.lines) for block in blocks))
            await self._jobs.check_files(live.job.task, files)
            await self._store.append_items(live.job.id, blocks, files)

    async def _new(self, job: Job, blocks: Sequence[Block]) -> list[Block]:
        """What the job has not yet.  Conflict if there is a gap before it, or the job has other items there."""
        total = job.counts.total
        if blocks and blocks[0].first > total:
            raise Conflict(f"Job {job.id!r} has {total} items; send on from offset={total}.")
        known, new = divided(blocks, total)
        if known:
            sent, kept = hashlib.sha256(), hashlib.sha256()
            for block in known:
                sent.update(block.lines)
                await asyncio.sleep(0)  # others have the loop: all of a body takes longer than it may be held
            index, stop = known[0].first, known[-1].stop
            while index < stop:
                stored = await read_joined(self._store, job.id, index)
                if stored is None:
                    raise Conflict(f"Job {job.id!r} was deleted meanwhile.")
                lines, count = BlockReader(stored).take(index, stop - index, sys.maxsize, exactly=True)
                kept.update(lines)
                index += count
            if sent.digest() != kept.digest():
                raise Conflict(
                    f"Job {job.id!r} has other items from {known[0].first} on; those that it has cannot change."
                )
        return new

    def _check_window(self, live: LiveJob, count: int) -> None:
        if count > self._items_max:
            raise TooLarge(f"These are {count} items; send at most {self._items_max} at a time.")
        excess = live.waiting + count - self._items_max
        if excess <= 0:
            return
        rate = live.rate.items_per_second(self._clock.monotonic())
        seconds = excess / rate if rate else RETRY_AFTER_SECONDS
        raise OverQuota(
            f"{live.waiting} items of this job wait, of {self._items_max} that may; send more when some are done.",
            retry_after_seconds=round(min(max(seconds, 1), RETRY_AFTER_SECONDS_MAX)),
        )


def _check_taking(live: LiveJob) -> None:
    """Conflict if the job takes no more items."""
    job = live.job
    if job.status.finished or live.halt is not None:
        raise Conflict(
            f"Job {job.id!r} is {job.status}, has ended or is being ended, and takes no more items."
        )
    if job.sealed:
        raise Conflict(
            f'Job {job.id!r} is sealed and takes no more items; submit it with "open" to append some.'
        )
