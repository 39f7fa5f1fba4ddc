"""What a worker had sent before its end is not lost with it."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.engine import Chunk
from bench.pool_driver import CPU, Driver, driving
from workers.pool import Pool
from workers.postmortem import Exit
from workers.worker import WorkerView

SECONDS_MAX = 20.0


class Told(Driver):
    """Remembers what it is told of."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.told: list[tuple[str, int, int | None]] = []

    def room(self) -> None: ...

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        self.told.append(("part", first, first + count))

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        self.told.append(("lost", first, culprit))

    def runs(self, item: int) -> WorkerView | None:
        """Who does, by the memory that workers and pool share."""
        return next((worker for worker in self.pool.workers(CPU) if worker.item == item), None)


def test_what_a_dead_worker_had_sent_is_read_before_its_end_is_told() -> None:
    """Though nobody came to look at its results before: only what it had not sent runs again."""

    async def story() -> list[tuple[str, int, int | None]]:
        async with asyncio.timeout(SECONDS_MAX), driving(Told) as driver:
            driver.pool.run(Chunk(1, "sleep_for", b"{}", 0, 4, b"0.1\n0.1\n0.1\n30\n"), CPU)
            while (worker := driver.runs(3)) is None:
                os.sched_yield()  # so that the loop reads nothing
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            assert driver.told == []
            driver.pool.ended(worker.id, worker.pid, Exit(-signal.SIGKILL))
            return driver.told

    *parts, (what, first, culprit) = asyncio.run(story())

    assert parts[0][:2] == ("part", 0)
    assert (what, first, culprit) == ("lost", parts[-1][2], 3)
