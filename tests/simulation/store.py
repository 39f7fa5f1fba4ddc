"""A store that is slow, fails, and dies with its service; and that watches what is done to it.

Writes take effect in the order in which they were asked for, as in the file store.  A call that fails has changed
nothing; of calls that are under way when the service dies, some have taken effect and some have not.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

from app.domain.errors import StorageFull, StorageUnavailable
from app.domain.item import Segment
from app.domain.store import JobStore
from app.stores.memory import MemoryStore
from tests.simulation.invariants import Watch

READS = frozenset({
    "replay", "get_job", "list_jobs", "count_jobs", "unfinished_jobs", "tombstone", "done_ranges",
    "read_block", "read_blocks", "read_result", "read_digest", "notes", "read_results", "extent", "get_file",
    "strange_files", "stored_bytes",
})  # fmt: skip


class Crashed(BaseException):
    """The service that asked is no more."""


class FaultyStore:
    """What one life of the service sees of the store that outlives it."""

    def __init__(self, inner: MemoryStore, watch: Watch, chance: random.Random) -> None:
        self._inner = inner
        self._watch = watch
        self._chance = chance
        self._last: asyncio.Future[None] | None = None
        self._dead = False
        self.fault_share = 0.0
        """Of calls that fail."""

    def log(self, job_id: str) -> list[Segment] | None:
        """What is stored of the job's results right now; None if there is no such job."""
        return self._inner.log(job_id) if any(job.id == job_id for job in self._inner.jobs()) else None

    def die(self) -> None:
        """Every call that is under way, or comes, ends with `Crashed`."""
        self._dead = True

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._inner, name)
        if name in READS:
            return lambda *arguments, **named: self._run(call, arguments, named)
        return lambda *arguments, **named: self._in_turn(name, call, arguments, named)

    async def _in_turn(self, name: str, call: Any, arguments: Any, named: Any) -> Any:
        """A write: after those before it."""
        before, mine = self._last, asyncio.get_running_loop().create_future()
        self._last = mine
        try:
            if before is not None and not before.done():
                await asyncio.wait([before])
            return await self._run(call, arguments, named, name)
        finally:
            if not mine.done():
                mine.set_result(None)

    async def _run(self, call: Any, arguments: Any, named: Any, name: str | None = None) -> Any:
        await self._pass_time()
        if self._chance.random() < self.fault_share:
            raise self._chance.choice((StorageFull, StorageUnavailable))("simulated")
        if name is not None:
            self._watch.before_write(name, arguments)
        result = await call(*arguments, **named)
        if name is not None:
            self._watch.after_write()
        await self._pass_time()
        return result

    async def _pass_time(self) -> None:
        if self._dead:
            raise Crashed
        if self._chance.random() < 0.7:
            await asyncio.sleep(self._chance.choice((0.0001, 0.001, 0.01)))
        else:
            await asyncio.sleep(0)
        if self._dead:
            raise Crashed


def as_store(store: FaultyStore) -> JobStore:
    """The same, as the service knows it: it has every method, by `__getattr__`."""
    return cast("JobStore", store)
