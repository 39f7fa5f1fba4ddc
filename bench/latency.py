"""Jobs of one item: how long one takes, and how many a second there are, against `multiprocessing.Pool.apply`.

The reference is a call inside one process, so the ratio is the price of HTTP and of a job that is on disk
before it runs.  What an answer costs that does nothing is measured beside it.
"""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import msgspec
import uvloop

from bench.connection import Connection
from bench.report import Figure, WrongResult, percentile, timed
from bench.server import serving
from workers.tasks.numbers import square

PROCESSES = 2
CONNECTIONS = 8
JOBS = 2_000
JOB_HEADERS = "Content-Type: application/json\r\nPrefer: wait=10\r\n"
MS = 1_000.0


class Job(msgspec.Struct):
    """What is looked at of a job."""

    results: list[dict[str, object]]


_decode = msgspec.json.Decoder(Job).decode

Ask = Callable[[Connection, int], Awaitable[None]]


def measure(runs: int) -> list[Figure]:
    """Waiting times and rates.  WrongResult if a square is not one."""
    alone: list[float] = []
    alone_there: list[float] = []
    nothing: list[float] = []
    rates: list[float] = []
    rates_there: list[float] = []
    busy: list[float] = []
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(PROCESSES)) as server,
        multiprocessing.get_context("forkserver").Pool(PROCESSES) as pool,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_at_once(server.url))
        pool.map(square, range(JOBS))
        for _ in range(runs):
            alone += runner.run(_one_at_a_time(server.url, _job))
            nothing += runner.run(_one_at_a_time(server.url, _livez))
            alone_there += [timed(_apply, pool, number)[0] for number in range(JOBS)]
            used = process_time()
            took, _ = timed(runner.run, _at_once(server.url))
            busy.append((process_time() - used) / took)
            rates.append(JOBS / took)
            rates_there.append(JOBS / timed(_apply_at_once, pool)[0])
    against, waits = "Pool.apply", f"one at a time, {JOBS} jobs"
    return [
        *(
            Figure(
                f"{waits}, p{percent}",
                percentile(alone, percent) * MS,
                "ms",
                percentile(alone_there, percent) * MS,
                against,
            )
            for percent in (50, 99)
        ),
        Figure(
            f"{CONNECTIONS} connections",
            median(rates),
            "jobs/s",
            median(rates_there),
            f"{against}, {CONNECTIONS} threads",
        ),
        Figure("CPU time the client takes meanwhile", median(busy) * 100, "% of one"),
        Figure("GET /livez, p50", percentile(nothing, 50) * MS, "ms"),
    ]


async def _one_at_a_time(url: str, ask: Ask) -> list[float]:
    """Seconds that each of many answers took, asked one after the other over one connection."""
    connection = await Connection.open(url)
    times = []
    for number in range(JOBS):
        began = perf_counter()
        await ask(connection, number)
        times.append(perf_counter() - began)
    await connection.close()
    return times


async def _at_once(url: str) -> None:
    """As many jobs, shared by connections that each have one under way."""
    numbers = iter(range(JOBS))
    await asyncio.gather(*(_share(url, numbers) for _ in range(CONNECTIONS)))


async def _share(url: str, numbers: Iterable[int]) -> None:
    connection = await Connection.open(url)
    for number in numbers:
        await _job(connection, number)
    await connection.close()


async def _job(connection: Connection, number: int) -> None:
    body = b'{"task":"square","items":[%d]}' % number
    status, answer = await connection.request("POST", "/v1/jobs", body, JOB_HEADERS)
    if status != 200 or [result.get("output") for result in _decode(answer).results] != [number**2]:
        raise WrongResult(f"{status} for the square of {number}: {answer[:500]!r}")


async def _livez(connection: Connection, _: int) -> None:
    status, answer = await connection.request("GET", "/livez")
    if status != 200:
        raise WrongResult(f"{status}: {answer[:500]!r}")


def _apply(pool: Pool, number: int) -> None:
    assert pool.apply(square, (number,)) == number**2


def _apply_at_once(pool: Pool) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(lambda number: _apply(pool, number), range(JOBS)):
            pass
