"""A worker is soon there."""

import asyncio
from pathlib import Path

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
