"""How soon the pool notices and repairs what goes wrong, without HTTP and store.

The last figure is of the service: a pool belongs to a process, and what is asked is what that leaves behind.
"""

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import psutil
import uvloop

from bench.figure import Figure, WrongResult, at_most
from bench.pool_driver import CPU, Driver, driving
from bench.scale import WORKERS, Scale
from bench.server import serving
from tests.waiting import alive

TIMEOUT_SECONDS = 0.2
SECONDS_MAX = 10.0
LOOK_SECONDS = 0.0005
MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Size:
    runs: int
    ends: int


SIZES: Mapping[Scale, Size] = {"full": Size(15, 5), "quick": Size(5, 1), "tiny": Size(1, 1)}


def measure(scale: Scale) -> list[Figure]:
    """Milliseconds.  WrongResult if something else went wrong than was meant to."""
    size = SIZES[scale]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(_measure(size.runs))
    left = [_ms_until_nothing_is_left() for _ in range(size.ends)]
    return [
        Figure("a killed worker is noticed", "", seen["death"], "ms", target=at_most(10)),
        Figure("another is in its place", "", seen["replaced"], "ms", target=at_most(15)),
        Figure(
            "overshoot of a time limit", f"{TIMEOUT_SECONDS:g} s", seen["overshoot"], "ms", target=at_most(50)
        ),
        Figure("after its SIGKILL nothing is left", "", left, "ms", target=at_most(1_000)),
    ]


async def _measure(runs: int) -> Mapping[str, list[float]]:
    seen: defaultdict[str, list[float]] = defaultdict(list)
    async with driving(Driver) as driver, asyncio.timeout(SECONDS_MAX * runs):
        for _ in range(runs):
            await _kill_a_busy_worker(driver, seen)
            await _let_one_time_out(driver, seen)
    return seen


async def _kill_a_busy_worker(driver: Driver, seen: Mapping[str, list[float]]) -> None:
    await _until(lambda: len(_pids(driver, "idle")) == WORKERS)
    run = driver.submit("sleep_for", b"60\n", 1)
    await _until(lambda: any(worker.item is not None for worker in driver.pool.workers(CPU)))
    (pid,) = _pids(driver, "busy")
    began = perf_counter()
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: pid not in _pids(driver, "idle", "busy") and len(_pids(driver, "idle")) == WORKERS)
    seen["replaced"].append((perf_counter() - began) * MS)
    await run.ended
    if run.lost is None or run.lost_at is None or run.lost["kind"] != "crashed":
        raise WrongResult(f"a worker was killed: {run.lost}")
    seen["death"].append((run.lost_at - began) * MS)


async def _let_one_time_out(driver: Driver, seen: Mapping[str, list[float]]) -> None:
    began = perf_counter()
    run = driver.submit("sleep_for", b"60\n", 1, TIMEOUT_SECONDS)
    await run.ended
    if run.first_at is None or b'"kind":"timeout"' not in b"".join(run.results):
        raise WrongResult(f"an item should have timed out: {run.results}, {run.lost}")
    seen["overshoot"].append((run.first_at - began - TIMEOUT_SECONDS) * MS)


def _ms_until_nothing_is_left() -> float:
    """From the SIGKILL of a service whose workers hold the interpreter lock to the end of its last process."""
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(
            Path(directory), processes=str(WORKERS), tasks="workers.tasks,workers.tasks.faults"
        ) as server,
        server.client() as client,
    ):
        job = {"task": "hold_gil", "items": [60] * WORKERS, "chunksize": 1}
        link = client.post("/v1/jobs", json=job).raise_for_status().json()["links"]["self"]
        deadline = perf_counter() + SECONDS_MAX
        while client.get(link).json()["counts"]["running"] < WORKERS:
            assert perf_counter() < deadline, "the items do not start"
            sleep(0.01)
        family = psutil.Process(server.pid).children(recursive=True)
        began = perf_counter()
        server.kill()
        while alive(family):
            assert perf_counter() < began + SECONDS_MAX, f"these are left: {family}"
            sleep(LOOK_SECONDS)
        return (perf_counter() - began) * MS


def _pids(driver: Driver, *states: str) -> list[int]:
    workers = driver.pool.workers(CPU)
    return [worker.pid for worker in workers if worker.pid is not None and worker.state in states]


async def _until(come: Callable[[], bool]) -> None:
    while not come():  # noqa: ASYNC110 -- of what happens in other processes nobody tells
        await asyncio.sleep(LOOK_SECONDS)
