"""The pool without the service: runs jobs on `workers.pool.Pool` as the dispatcher would, and stores nothing.

Chunks are cut by the service's own rule.  Jobs are served in the order they came, each until it has sent everything.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeVar

from app.begin import begin
from app.domain.chunking import ALONE_SECONDS, BYTES_MAX, TARGET_SECONDS, Chunker
from app.domain.engine import Chunk
from app.domain.item import Block
from app.service.items import BlockReader
from app.service.scheduler import SHORT_SECONDS
from bench.figure import WrongResult
from bench.scale import WORKERS
from workers.files import Blobs
from workers.launcher import Launcher
from workers.limits import ChildLimits
from workers.memory import MemoryGuard
from workers.pool import Pool

CPU = "cpu"
TASKS = ("workers.tasks", "workers.tasks.faults")


@dataclass(slots=True, eq=False)
class Run:
    """A job on its way."""

    task: str
    reader: BlockReader
    todo: deque[tuple[int, int]]
    """Ranges (first, stop) of items that are not with workers and have no result."""
    ended: asyncio.Future[None]
    timeout_seconds: float | None = None
    chunker: Chunker = field(default_factory=lambda: Chunker("auto"))
    out: int = 0
    """Chunks that are with workers."""
    results: list[bytes] = field(default_factory=list)
    first_at: float | None = None
    """When its first result came, by `perf_counter`."""
    lost: Mapping[str, Any] | None = None
    """The failure of an item that took its worker with it."""
    lost_at: float | None = None

    @property
    def left(self) -> int:
        return sum(stop - first for first, stop in self.todo)


class Driver:
    """A pool and its only listener.  Not thread-safe: all of it runs on the event loop."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._ids = itertools.count(1)
        self._waiting: deque[Run] = deque()
        self._chunks: dict[int, tuple[Run, int, int]] = {}
        """What is with workers: items from … to …, of which job."""

    def submit(self, task: str, lines: bytes, count: int, timeout_seconds: float | None = None) -> Run:
        """Have items run; `ended` is done when they all have."""
        reader = BlockReader(Block(0, count, lines))
        todo = deque([(0, count)])
        run = Run(task, reader, todo, asyncio.get_running_loop().create_future(), timeout_seconds)
        self._waiting.append(run)
        self.room()
        return run

    async def map(self, task: str, lines: bytes, count: int) -> list[bytes]:
        """The result lines, in pieces, in the order they came."""
        run = self.submit(task, lines, count)
        await run.ended
        if run.lost:
            raise WrongResult(f"{task}: {run.lost}")
        return run.results

    # -- What the pool tells

    def room(self) -> None:
        while self._waiting:
            run = self._waiting[0]
            seconds = ALONE_SECONDS if len(self._waiting) == 1 else TARGET_SECONDS
            count = run.chunker.size(run.left, WORKERS, seconds)
            short = (run.chunker.estimate(count) or SHORT_SECONDS) < SHORT_SECONDS
            room = self.pool.room(CPU, concurrency=1, alone=False)
            if room == "none" or (room == "behind" and not short):
                return
            self._send(run, count, short)

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        run, *_ = self._chunks[chunk_id]
        run.results.append(lines)
        run.first_at = run.first_at or perf_counter()

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        run, first, end = self._chunks.pop(chunk_id)
        if stop > first:
            run.chunker.report(stop - first, seconds)
        self._give_back(run, stop, end)
        self._came_back(run)

    def recalled(self, chunk_id: int, stop: int) -> None:
        run, first, end = self._chunks[chunk_id]
        self._chunks[chunk_id] = run, first, stop
        self._give_back(run, stop, end)

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        run, *_ = self._chunks.pop(chunk_id)
        run.lost, run.lost_at = error, perf_counter()
        self._came_back(run)

    def unlucky(self, chunk_id: int, index: int, error: Mapping[str, Any]) -> None:
        raise AssertionError("nothing here has attempts to spare")

    def printed(self, chunk_id: int, index: int, text: str) -> None: ...

    def progress(self, chunk_id: int, index: int, share: float, message: str) -> None: ...

    def _send(self, run: Run, count: int, short: bool) -> None:
        first, stop = run.todo.popleft()
        lines, count = run.reader.take(first, min(count, stop - first), BYTES_MAX, exactly=False)
        number = next(self._ids)
        self._chunks[number] = run, first, first + count
        if first + count < stop:
            run.todo.appendleft((first + count, stop))
        run.out += 1
        if not run.left:
            self._waiting.popleft()
        timeout = run.timeout_seconds
        light = count > 1 and timeout is None and run.chunker.light
        long = (run.chunker.estimate(count) or 0.0) > TARGET_SECONDS
        chunk = Chunk(
            number, run.task, b"{}", first, count, lines, timeout, short=short, long=long, light=light
        )
        self.pool.run(chunk, CPU)

    def _give_back(self, run: Run, first: int, stop: int) -> None:
        """Items that a worker did not come to wait again, in front."""
        if first < stop:
            run.todo.appendleft((first, stop))
            if run not in self._waiting:
                self._waiting.appendleft(run)

    def _came_back(self, run: Run) -> None:
        run.out -= 1
        if not run.left and not run.out:
            run.ended.set_result(None)


D = TypeVar("D", bound=Driver)


@asynccontextmanager
async def driving(kind: type[D], guard: MemoryGuard | None = None) -> AsyncIterator[D]:
    """A pool with its workers there; ended, whatever happens.  Without a guard memory is never short."""
    with TemporaryDirectory(prefix="millpond-bench-") as directory:
        sizes = {CPU: WORKERS, "io": 0}
        launcher = Launcher(TASKS, Blobs(Path(directory)), ChildLimits(), begin)
        pool = Pool(sizes, launcher, guard or MemoryGuard(None))
        driver = kind(pool)
        await pool.start(driver)
        try:
            yield driver
        finally:
            await pool.stop()
