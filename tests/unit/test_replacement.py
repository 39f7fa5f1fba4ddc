"""A worker that is gone is replaced at once, and another is soon there."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from bench.pool_driver import CPU, Driver, driving
from bench.scale import WORKERS

SECONDS_MAX = 20.0
LOOK_SECONDS = 0.005
FAULTS_MAX = 1_500
"""Of pages, from a worker's fork to its first results: about 900.  To write 8 MiB once would be 2,000 more."""


async def _until_idle(driver: Driver) -> list[int]:
    """The pids of all its workers, once they are there and have nothing to do."""
    while True:
        workers = driver.pool.workers(CPU)
        pids = [worker.pid for worker in workers if worker.pid is not None and worker.state == "idle"]
        if len(pids) == len(workers) == WORKERS:
            return pids
        await asyncio.sleep(LOOK_SECONDS)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_another_is_asked_for_before_anybody_knows_how_the_worker_ended(name: str) -> None:
    """That it is gone is enough, while who could tell of its end does not even run."""

    async def story() -> None:
        async with asyncio.timeout(SECONDS_MAX), driving(Driver) as driver:
            await driver.map("square", b"2\n" * 2 * WORKERS, 2 * WORKERS)
            pid, *_ = await _until_idle(driver)
            worker = psutil.Process(pid)
            zygote = worker.parent()
            assert zygote is not None
            zygote.suspend()
            try:
                worker.send_signal(signal.Signals[name])
                while "starting" not in [view.state for view in driver.pool.workers(CPU)]:  # noqa: ASYNC110 -- nobody tells
                    await asyncio.sleep(LOOK_SECONDS)
                assert driver.pool.restarts(CPU) == 0
            finally:
                zygote.resume()
            assert pid not in await _until_idle(driver)
            assert driver.pool.restarts(CPU) == 1

    asyncio.run(story())


def test_a_worker_touches_little_memory_until_its_first_results() -> None:
    """Each page is a copy of the zygote's, or a fresh one: some microseconds, and 4 KiB."""

    async def story() -> None:
        async with asyncio.timeout(SECONDS_MAX), driving(Driver) as driver:
            await driver.map("square", b"2\n" * 10 * WORKERS, 10 * WORKERS)
            pids = await _until_idle(driver)
            assert max(_faults(pid) for pid in pids) < FAULTS_MAX

    asyncio.run(story())


def _faults(pid: int) -> int:
    """How often the process had to be given a page (proc(5), `minflt`)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
