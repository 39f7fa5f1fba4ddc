"""The real dispatcher on a simulated clock, where nothing goes wrong: when each item ran is known to the last digit."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.engine import Chunk
from app.domain.item import Block
from app.domain.job import Options
from app.service.dispatcher import Dispatcher
from app.service.live import LiveJob
from app.stores.memory import MemoryStore
from tests.builders import a_job
from tests.simulation.engine import TASKS, Given, ScriptedEngine, Worker
from tests.simulation.fate import Item
from tests.simulation.loop import START, SimulatedClock, SimulatedLoop


@dataclass(frozen=True)
class Ran:
    """An item began."""

    job: LiveJob
    index: int
    at: float
    seconds: float
    beside: int
    """How many items of its task ran then, itself included."""
    in_flight: int
    """How many items of its job were with workers, or had results that were not stored yet."""


class _Engine(ScriptedEngine):
    """Remembers when each item began."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(loop, random.Random(0))
        self._limits = limits
        self._of: dict[int, LiveJob] = {}
        self.dispatcher: Dispatcher
        self.ran: list[Ran] = []
        self.chunks = 0
        """That were given."""

    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: {**task, "limits": self._limits.get(name)} for name, task in TASKS.items()}

    def run(self, chunk: Chunk, pool: str) -> None:
        self.chunks += 1
        self._of[chunk.id] = next(live for live in self.dispatcher.live.values() if chunk.id in live.chunks)
        super().run(chunk, pool)

    def _next(self, worker: Worker, given: Given) -> None:
        super()._next(worker, given)
        if given.timer is not None:
            running = [
                g for w in self._workers for g in w.given if g.timer and g.chunk.task == given.chunk.task
            ]
            seconds = given.items[given.at].ms / 1000
            live = self._of[given.chunk.id]
            self.ran.append(
                Ran(live, given.index, self._loop.time(), seconds, len(running), live.counts.running)
            )


class Scheduled:
    """A service with two workers in `cpu` and one in `io`, each item of which takes as long as it says."""

    def __init__(self, store: MemoryStore, limits: Mapping[str, Mapping[str, Any]]) -> None:
        loop = asyncio.get_running_loop()
        self.store = store
        self.engine = _Engine(loop, limits)
        self.clock = SimulatedClock(loop, timedelta())
        self.dispatcher = self.engine.dispatcher = Dispatcher(store, self.engine, self.clock, lambda: 0.5)

    async def submit(
        self, *milliseconds: float | Item, task: str = "work", by: str | None = None, **options: Any
    ) -> LiveJob:
        """A job of items that take so long, of this caller."""
        items = [
            ms if isinstance(ms, Item) else Item(number, "ok", ms=ms)
            for number, ms in enumerate(milliseconds)
        ]
        block = Block(0, len(items), b"".join(item.line() + b"\n" for item in items))
        job = a_job(
            f"job-{len(self.store.jobs())}",
            total=len(items),
            task=task,
            options=Options(**options),
            created_at=START,
            submitted_by=by,
        )
        await self.store.create_job(job, [block])
        return self.dispatcher.submitted(job, [block])

    async def end(self, *jobs: LiveJob) -> None:
        """Wait until every item has its result."""
        for live in jobs:
            while not live.job.status.finished:
                await live.bell.wait(live.bell.rings, 3600.0)

    def ran(self, live: LiveJob) -> Sequence[Ran]:
        """The items of a job, in the order in which they began; further attempts again."""
        return [ran for ran in self.engine.ran if ran.job is live]


def scheduled(
    story: Callable[[Scheduled], Awaitable[None]],
    store: MemoryStore | None = None,
    /,
    **limits: Mapping[str, Any],
) -> Scheduled:
    """What became of a story; `limits` are those of tasks, by name."""
    loop = SimulatedLoop()

    async def tell() -> Scheduled:
        service = Scheduled(store or MemoryStore(), limits)
        await service.dispatcher.start()
        await story(service)
        await service.dispatcher.stop()
        return service

    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(tell())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
