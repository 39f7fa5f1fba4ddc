"""A pool that runs what may take as long as it likes looks less often, and at once more often when that changes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import cast

import pytest
from uvicorn.config import Config

from app.api.server import DATE_SECONDS, Server
from app.domain.engine import Chunk
from app.service.jobs import Jobs
from app.service.watchdog import INTERVAL_SECONDS, Watchdog
from bench.pool_driver import CPU, Driver, driving
from tests.simulation.loop import SimulatedClock, SimulatedLoop
from workers import pool
from workers.pool import Pool
from workers.rounds import CALM_SECONDS, WATCH_SECONDS, Rounds

SECONDS_MAX = 20.0
"""A pool that was not to look for an hour has missed it by then."""


def test_who_asks_to_be_looked_at_sooner_is() -> None:
    """Once; one that is later than what was meant, or that turns out not to be needed, changes nothing."""
    looked: list[float] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()

        def look() -> float:
            looked.append(loop.time())
            return 1.0

        rounds = Rounds(look)
        await asyncio.sleep(0.25)
        rounds.within(0.25, unless=lambda: True)
        rounds.within(0.5)
        rounds.within(0.6)
        await asyncio.sleep(2.0)
        rounds.stop()
        await asyncio.sleep(10.0)

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(story())

    assert looked == [0.0, 0.75, 2.0]


def test_looks_that_somebody_needs_are_counted_from_the_first() -> None:
    """A limit that is a multiple of the time between them is met as it passes."""
    looked: list[float] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()

        def look() -> float:
            looked.append(round(loop.time(), 6))
            return WATCH_SECONDS

        await asyncio.sleep(0.013)
        rounds = Rounds(look)
        await asyncio.sleep(2.5 * WATCH_SECONDS)
        rounds.stop()

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(story())

    assert looked == [0.013, 0.033, 0.053]


def test_a_service_with_nothing_to_do_is_woken_once_for_all_that_look_after_it() -> None:
    """Whenever it was that each began; and who is in time for that was not late."""
    looked: list[float] = []
    read: list[float] = []

    async def story() -> Watchdog:
        loop = asyncio.get_running_loop()

        class Clock(SimulatedClock):
            def monotonic(self) -> float:
                read.append(round(loop.time(), 6))
                return loop.time()

        def look() -> float:
            looked.append(round(loop.time(), 6))
            return CALM_SECONDS

        await asyncio.sleep(0.013)
        rounds = Rounds(look)
        await asyncio.sleep(0.048)
        watchdog = Watchdog(Clock(loop, timedelta(0)))
        watchdog.start()
        await asyncio.sleep(10.0)
        rounds.stop()
        watchdog.stop()
        return watchdog

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        watchdog = runner.run(story())

    assert len(looked) >= 10.0 / CALM_SECONDS
    assert len(read) >= 10.0 / INTERVAL_SECONDS - 1
    assert set(looked[1:]) <= set(read)
    assert watchdog.lag.longest < 1e-6


class Told(Driver):
    """Remembers which chunks came back, and gives nothing to anybody."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.back: asyncio.Queue[int] = asyncio.Queue()

    def run(self, number: int, *seconds: float, limit: float | None = None, task: str = "sleep_for") -> None:
        lines = b"".join(b"%g\n" % each for each in seconds)
        self.pool.run(Chunk(number, task, b"{}", 0, len(seconds), lines, limit), CPU)

    def room(self) -> None: ...

    def part(self, *_: object) -> None: ...

    def ended(self, chunk_id: int, *_: object) -> None:
        self.back.put_nowait(chunk_id)

    def lost(self, chunk_id: int, *_: object) -> None:
        self.back.put_nowait(chunk_id)

    def recalled(self, chunk_id: int, stop: int) -> None:
        self.back.put_nowait(chunk_id)


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that has no reason to look never does."""
    monkeypatch.setattr(pool, "CALM_SECONDS", 3600.0)


def came_back(story: Callable[[Told], Awaitable[None]]) -> int:
    """The first chunk that comes back, of those that the story gives to two workers."""

    async def run() -> int:
        async with asyncio.timeout(SECONDS_MAX), driving(Told) as told:
            await story(told)
            return await told.back.get()

    return asyncio.run(run())


async def calm(told: Told) -> None:
    """Both workers run something, and the pool has looked at them since."""
    while not all((worker.item_seconds or 0) > 0.1 for worker in told.pool.workers(CPU)):  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("seldom")
def test_a_limit_is_watched_from_when_the_item_is_given() -> None:
    """The pool, which had nothing to do, was not to look for an hour."""

    async def story(told: Told) -> None:
        told.run(1, 30.0, limit=0.1)
        told.run(2, 30.0)

    assert came_back(story) == 1


@pytest.mark.usefixtures("seldom")
@pytest.mark.parametrize("task", ["sleep_for", "hold_gil"])
def test_what_is_cancelled_is_ended_though_nobody_was_looking(task: str) -> None:
    """Neither item has a limit; one that hears nothing is looked at again until it is gone."""

    async def story(told: Told) -> None:
        told.run(1, 30.0)
        told.run(2, 30.0, task=task)
        await calm(told)
        told.pool.cancel(2)

    assert came_back(story) == 2


@pytest.mark.usefixtures("seldom")
def test_what_waits_is_taken_back_once_another_worker_has_nothing_to_do() -> None:
    """Until then there was no reason to look."""

    async def story(told: Told) -> None:
        told.run(1, 30.0, 30.0)
        told.run(2, 0.3)
        await calm(told)
        assert await told.back.get() == 2

    assert came_back(story) == 1


class Ticking(Server):
    """Counts how often it is woken."""

    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


class Closing:
    """Is told that the service stops."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_server_that_waits_is_woken_for_the_date_only_and_ends_at_once() -> None:
    """Not ten times a second to see whether it should end."""
    closing = Closing()
    server = Ticking(Config(""), cast("Jobs", closing))

    async def story() -> float:
        loop = asyncio.get_running_loop()
        serving = loop.create_task(server.main_loop())
        await asyncio.sleep(10.5 * DATE_SECONDS)
        began = loop.time()
        server.fail(RuntimeError("over"))
        await serving
        return loop.time() - began

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        took = runner.run(story())

    assert took == 0
    assert server.ticks == 12
    assert closing.closed
