"""Workers that end before they come to an item are replaced all the same, but not in a loop."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import pool_driver
from bench.pool_driver import CPU, Driver, driving
from tests.unit.stillborn import FORBIDDING
from workers.pool import REFILL_SECONDS_MIN, STILLBORN_MAX

SECONDS_MAX = 20.0


class Dispatching(Driver):
    """Has what a worker took with it run again, as the service does."""

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        assert culprit is None
        run, _, end = self._chunks.pop(chunk_id)
        run.out -= 1
        self._give_back(run, first, end)

    async def all_end(self, births: "Births") -> None:
        """No worker lives any more, and the pool has seen it."""
        await self.until(lambda: all(worker.state == "idle" for worker in self.pool.workers(CPU)))
        births.forbid()
        for worker in self.pool.workers(CPU):
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        await self.until(lambda: self.pool.restarts(CPU) > STILLBORN_MAX and not self.pool.workers(CPU))

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not reached():  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0.001)

    async def negative(self) -> list[bytes]:
        async with asyncio.timeout(SECONDS_MAX):
            return await self.map("negative", b"1\n", 1)


@dataclass
class Births:
    """Whether workers live."""

    _forbidding: Path

    def forbid(self) -> None:
        self._forbidding.touch()

    def allow(self) -> None:
        self._forbidding.unlink()


@pytest.fixture
def births(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Births:
    path = tmp_path / "forbidding"
    monkeypatch.setenv(FORBIDDING, str(path))
    monkeypatch.setattr(pool_driver, "TASKS", ("tests.unit.stillborn",))
    return Births(path)


def test_what_came_while_no_worker_lived_runs_once_one_does(births: Births) -> None:
    """Whoever waits for room hears of the worker that came late."""

    async def story() -> list[bytes]:
        async with driving(Dispatching) as driver:
            await driver.all_end(births)
            result = asyncio.ensure_future(driver.negative())
            await asyncio.sleep(0)
            births.allow()
            return await result

    (line,) = asyncio.run(story())

    assert b"-1" in line


def test_while_items_wait_workers_are_not_forked_in_a_loop(
    births: Births, caplog: pytest.LogCaptureFixture
) -> None:
    """But all at once, and later each time; what such a worker was given runs in the first that lives."""

    async def story() -> tuple[float, list[bytes]]:
        async with driving(Dispatching) as driver:
            await driver.all_end(births)
            loop, rounds = asyncio.get_running_loop(), 3
            began, enough = loop.time(), driver.pool.restarts(CPU) + rounds * driver.pool.size(CPU)
            result = asyncio.ensure_future(driver.negative())
            await driver.until(lambda: driver.pool.restarts(CPU) >= enough)
            took = loop.time() - began
            births.allow()
            return took, await result

    took, (line,) = asyncio.run(story())

    assert took > REFILL_SECONDS_MIN * (2 + 4)
    assert sum("in a row" in message for message in caplog.messages) <= 5
    assert b"-1" in line
