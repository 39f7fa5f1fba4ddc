"""W2: jobs of one item, from the request to its result, against `multiprocessing.Pool.apply_async(…).get()`.

The reference is a call inside one process, so the ratio is the price of HTTP and of a job that is on disk
before it runs.  What an answer costs that does nothing is measured beside it.
"""

import asyncio
import multiprocessing
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import msgspec
import uvloop

from bench.connection import Connection
from bench.figure import Figure, Target, WrongResult, at_least, at_most, percentile
from bench.scale import WORKERS, Scale
from bench.server import serving
from bench.timing import timed
from workers.tasks.numbers import square

CONNECTIONS = 8
JSON, WAIT = "Content-Type: application/json\r\n", "Prefer: wait=10\r\n"
JOB_HEADERS = JSON + WAIT
APPLY = "Pool.apply_async().get()"
MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Size:
    jobs: int
    runs: int


SIZES: Mapping[Scale, Size] = {"full": Size(5_000, 5), "quick": Size(1_000, 1), "tiny": Size(20, 1)}


class Job(msgspec.Struct):
    """What is looked at of a job."""

    results: list[dict[str, object]]


_decode = msgspec.json.Decoder(Job).decode

Ask = Callable[[Connection, int], Awaitable[None]]
Runs = defaultdict[str, list[list[float]]]
"""The seconds of every answer, by what was asked; a list for each run."""


def measure(scale: Scale) -> list[Figure]:
    """Waiting times and rates.  WrongResult if a square is not one."""
    size = SIZES[scale]
    waits: Runs = defaultdict(list)
    rates: defaultdict[str, list[float]] = defaultdict(list)
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS)) as server,
        multiprocessing.get_context("forkserver").Pool(WORKERS) as pool,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(at_once(server.url, size.jobs))
        pool.map(square, range(size.jobs))
        for _ in range(size.runs):
            waits["alone"].append(runner.run(_one_at_a_time(server.url, size.jobs, _job)))
            waits["livez"].append(runner.run(_one_at_a_time(server.url, size.jobs, _livez)))
            waits["apply"].append([timed(_apply, pool, number)[0] for number in range(size.jobs)])
            used, served = process_time(), server.cpu_seconds
            took, together = timed(runner.run, at_once(server.url, size.jobs))
            rates["client"].append(100 * (process_time() - used) / took)
            rates["service"].append((server.cpu_seconds - served) / size.jobs * MS)
            rates["jobs"].append(size.jobs / took)
            waits["together"].append(together)
            rates["apply"].append(size.jobs / timed(_apply_at_once, pool, size.jobs)[0])
    jobs, shared = f"{size.jobs:,} jobs", f"{CONNECTIONS} connections"
    return [
        Figure(
            shared,
            jobs,
            rates["jobs"],
            "jobs/s",
            rates["apply"],
            f"{APPLY}, {CONNECTIONS} threads",
            at_least(1_500),
        ),
        _waiting("one at a time", jobs, waits["alone"], 50, waits["apply"], at_most(3)),
        _waiting("one at a time", jobs, waits["alone"], 99, waits["apply"], at_most(15)),
        _waiting(shared, jobs, waits["together"], 50),
        _waiting(shared, jobs, waits["together"], 99),
        _waiting("GET /livez", jobs, waits["livez"], 50),
        Figure("CPU time of the service, a job", jobs, rates["service"], "ms"),
        Figure("CPU time of the client, of one CPU", jobs, rates["client"], "%"),
    ]


def _waiting(
    what: str,
    size: str,
    runs: list[list[float]],
    percent: int,
    references: list[list[float]] | None = None,
    target: Target | None = None,
) -> Figure:
    """A percentile of each run."""
    return Figure(
        f"{what}, p{percent}",
        size,
        [percentile(run, percent) * MS for run in runs],
        "ms",
        [percentile(run, percent) * MS for run in references or ()],
        APPLY if references else "",
        target,
    )


async def _one_at_a_time(url: str, count: int, ask: Ask) -> list[float]:
    """Seconds that each of many answers took, asked one after the other over one connection."""
    return await _share(url, iter(range(count)), ask)


async def at_once(url: str, count: int) -> list[float]:
    """The same of as many jobs, shared by connections that each have one under way."""
    numbers = iter(range(count))
    shares = await asyncio.gather(*(_share(url, numbers, _job) for _ in range(CONNECTIONS)))
    return [seconds for share in shares for seconds in share]


async def appended(url: str, count: int) -> None:
    """As many squares, each added to an open job by a request of its own, over one connection; until all are there."""
    connection = await Connection.open(url)
    try:
        body = b'{"task":"square","open":true}'
        job = f"/v1/jobs/{(await _asked(connection, 'POST', '/v1/jobs', body))['id']}"
        for number in range(count):
            await _asked(connection, "POST", f"{job}/items?offset={number}", b"[%d]" % number)
        await _asked(connection, "POST", f"{job}/seal")
        done = await _asked(connection, "GET", job, headers=WAIT)
        outputs = [result.get("output") for result in done["results"] or ()]
        if outputs != [number**2 for number in range(count)]:
            raise WrongResult(f"the squares of {count} numbers: {outputs}")
    finally:
        await connection.close()


async def _asked(
    connection: Connection, method: str, path: str, body: bytes = b"", headers: str = JSON
) -> dict[str, Any]:
    status, answer = await connection.request(method, path, body, headers)
    if status not in (200, 201, 202):
        raise WrongResult(f"{status} for {method} {path}: {answer[:500]!r}")
    told: dict[str, Any] = msgspec.json.decode(answer)
    return told


async def _share(url: str, numbers: Iterable[int], ask: Ask) -> list[float]:
    connection = await Connection.open(url)
    times = []
    try:
        for number in numbers:
            began = perf_counter()
            await ask(connection, number)
            times.append(perf_counter() - began)
    finally:
        await connection.close()
    return times


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
    assert pool.apply_async(square, (number,)).get() == number**2


def _apply_at_once(pool: Pool, count: int) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(lambda number: _apply(pool, number), range(count)):
            pass
