"""What the pool does when its container's memory is short."""

import asyncio
import math
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.domain.engine import Chunk
from bench.pool_driver import CPU, Driver, driving
from tests.unit.cgroups import FakeCgroup
from workers import memory
from workers.memory import Cgroup, MemoryGuard
from workers.pool import Pool

SECONDS_MAX = 20.0
ENOUGH, LITTLE, ALMOST_NONE = 100_000, 850_000, 910_000
"""Bytes that are used when so much is left, of a million."""


class Told(Driver):
    """Gives nothing to anybody by itself."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.deaths: asyncio.Queue[tuple[int, Mapping[str, Any]]] = asyncio.Queue()
        self.rooms = 0
        """How often it was told of room."""

    def room(self) -> None:
        self.rooms += 1

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        self.deaths.put_nowait((chunk_id, error))

    async def runs(self, chunk_id: int) -> int:
        """The process that runs this chunk, of an item that sleeps, once it does."""
        self.pool.run(Chunk(chunk_id, "sleep_for", b"{}", 0, 1, b"30\n"), CPU)
        while True:
            for worker in self.pool.workers(CPU):
                if worker.chunk_id == chunk_id and worker.item is not None and worker.pid:
                    return worker.pid
            await asyncio.sleep(0.005)

    async def until(self, reached: Callable[[], bool]) -> None:
        while not reached():  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroup:
    """Of which something is ended but once, however long its memory takes to come back."""
    monkeypatch.setattr(memory, "KILL_PAUSE_SECONDS", math.inf)
    return FakeCgroup(tmp_path, 2)


def told(cgroup: FakeCgroup, story: Callable[[Told], Awaitable[None]]) -> None:
    async def run() -> None:
        guard = MemoryGuard(Cgroup.find(cgroup.limit.parent))
        async with asyncio.timeout(SECONDS_MAX), driving(Told, guard) as driver:
            await story(driver)

    asyncio.run(run())


def test_the_item_that_began_last_is_ended_before_the_kernel_decides(cgroup: FakeCgroup) -> None:
    """It took more than it may; the other one goes on."""

    async def story(driver: Told) -> None:
        await driver.runs(1)
        cgroup.uses(LITTLE)
        await driver.until(lambda: driver.pool.memory_short)  # by then it has looked at the first
        cgroup.uses(ENOUGH)
        await driver.until(lambda: not driver.pool.memory_short)
        await driver.runs(2)
        cgroup.uses(ALMOST_NONE)

        died, error = await driver.deaths.get()

        assert (died, error["kind"], error["type"]) == (2, "out_of_memory", "MemoryError")
        assert driver.pool.taken(1) > 0
        assert driver.deaths.empty()

    told(cgroup, story)


@pytest.mark.parametrize("used", [LITTLE, ALMOST_NONE])
def test_while_memory_is_short_nothing_starts_beside_what_runs(cgroup: FakeCgroup, used: int) -> None:
    """And who waits is told when that is over."""

    def room(driver: Told) -> str:
        return driver.pool.room(CPU, concurrency=1, alone=False)

    async def story(driver: Told) -> None:
        await driver.runs(1)
        if used == ALMOST_NONE:
            await driver.runs(2)
        assert (room(driver) == "idle") is (used == LITTLE)
        cgroup.uses(used)
        await driver.until(lambda: driver.pool.memory_short)
        if used == ALMOST_NONE:
            await driver.deaths.get()
        assert driver.pool.memory_short
        assert room(driver) == "none"

        before = driver.rooms
        cgroup.uses(ENOUGH)
        await driver.until(lambda: not driver.pool.memory_short)

        assert driver.rooms > before
        assert room(driver) == "idle"

    told(cgroup, story)


def test_with_nothing_running_an_item_starts_however_little_memory_there_is(cgroup: FakeCgroup) -> None:
    """To wait would help nobody."""

    async def story(driver: Told) -> None:
        cgroup.uses(LITTLE)
        await driver.until(lambda: driver.pool.memory_short)

        assert driver.pool.room(CPU, concurrency=1, alone=False) == "idle"

    told(cgroup, story)


@pytest.mark.parametrize(("kills", "kind"), [(0, "crashed"), (1, "out_of_memory")])
def test_what_the_kernel_ended_for_want_of_memory_is_told_from_what_others_ended(
    cgroup: FakeCgroup, kills: int, kind: str
) -> None:
    """Both end by the same signal; the container's memory says which it was."""

    async def story(driver: Told) -> None:
        pid = await driver.runs(1)
        cgroup.has_killed(kills)
        os.kill(pid, signal.SIGKILL)

        died, error = await driver.deaths.get()

        assert (died, error["kind"]) == (1, kind)

    told(cgroup, story)


def test_an_item_that_exits_is_not_taken_for_one_that_took_all_memory(cgroup: FakeCgroup) -> None:
    """Whatever the kernel has ended meanwhile."""

    async def story(driver: Told) -> None:
        cgroup.has_killed(1)
        driver.pool.run(Chunk(1, "exit_process", b"{}", 0, 1, b"3\n"), CPU)

        died, error = await driver.deaths.get()

        assert (died, error["kind"]) == (1, "crashed")

    told(cgroup, story)


def test_what_the_kernel_ended_is_not_mixed_up_with_what_the_pool_ended(cgroup: FakeCgroup) -> None:
    """Both at the same moment."""

    async def story(driver: Told) -> None:
        await driver.runs(1)
        pid = await driver.runs(2)
        cgroup.has_killed(1)
        driver.pool.kill(1)
        assert (await driver.deaths.get())[0] == 1
        os.kill(pid, signal.SIGKILL)

        died, error = await driver.deaths.get()

        assert (died, error["kind"]) == (2, "out_of_memory")

    told(cgroup, story)
