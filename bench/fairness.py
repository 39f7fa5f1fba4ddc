"""What a job waits for that comes when others are there already, and how two equal jobs share the workers.

`multiprocessing.Pool` and `ProcessPoolExecutor` serve first who came first, so a late job waits for all that is
before it.  Before a million items that would take most of an hour: they are measured behind fewer.
"""

import asyncio
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter

import httpx
import msgspec

from bench.connection import Connection
from bench.figure import Figure, WrongResult, at_least, at_most
from bench.scale import WORKERS, Scale
from bench.server import Server, serving
from workers.tasks.faults import burn

ITEM_MS = 5.0
SMALL_JOBS, SMALL_ITEMS, SMALL_MS = 50, 20, 1.0
MS = 1_000.0
STEP_SECONDS_MAX = 60.0
FEW_SHARED = 400
"""Items of two jobs together, after which their shares can be told to a few per cent."""
_HEADERS = "Content-Type: application/json\r\nPrefer: wait=60\r\n"


@dataclass(frozen=True, slots=True)
class Size:
    items: int
    """Of a large job."""
    there: int
    """Of what the references are measured behind, in proportion: the same wherever ratios are compared."""
    single: int
    """Jobs of one item, one after the other."""
    small: int
    runs: int


SIZES: Mapping[Scale, Size] = {
    "full": Size(1_000_000, 2_000, 40, SMALL_JOBS, 5),
    "quick": Size(1_000_000, 2_000, 20, SMALL_JOBS, 1),
    "tiny": Size(100_000, 40, 3, 5, 1),
}


class Job(msgspec.Struct):
    """What is looked at of a job."""

    status: str
    counts: dict[str, int]


_decode = msgspec.json.Decoder(Job).decode


def measure(scale: Scale) -> list[Figure]:
    """Waits and shares.  WrongResult if a job that was waited for did not complete."""
    size = SIZES[scale]
    waits: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(size.runs):
        with (
            TemporaryDirectory(prefix="millpond-bench-") as directory,
            serving(
                Path(directory),
                processes=str(WORKERS),
                tasks="workers.tasks,workers.tasks.faults",
                drain_seconds="0",
            ) as server,
            server.client() as client,
        ):
            _behind_others(client, server, size, waits)
        waits["pool"].append(_in_pool(size.there))
        waits["executor"].append(_in_executor(size.there))
    one = f"behind {size.items:,} of {ITEM_MS:g} ms"
    among = f"{size.small} of {SMALL_ITEMS} x {SMALL_MS:g} ms"
    return [
        Figure("one-item job, median", one, waits["single"], "ms", target=at_most(60)),
        Figure("one-item job, slowest", one, [max(waits["single"])], "ms", target=at_most(250)),
        *(
            Figure("one-item job", f"behind {size.there:,}", waits["single"], "ms", waits[key], against)
            for key, against in (("pool", f"Pool({WORKERS})"), ("executor", "ProcessPoolExecutor"))
        ),
        Figure("small jobs among two large, median", among, waits["small"], "ms"),
        Figure("small jobs among two large, slowest", among, [max(waits["small"])], "ms"),
        Figure("two equal jobs, the smaller part", "", waits["part"], "% of half", target=at_least(90)),
    ]


def _behind_others(
    client: httpx.Client, server: Server, size: Size, waits: defaultdict[str, list[float]]
) -> None:
    large = [_large(client, size.items)]
    _after(client, large, WORKERS * 20)
    waits["single"] += asyncio.run(_one_by_one(server.url, size.single))
    large.append(_large(client, size.items))
    _after(client, large[1:], WORKERS * 20)
    waits["small"] += asyncio.run(_at_once(server.url, size.small))
    began = _done(client, large)
    ended = _after(client, large, sum(began) + FEW_SHARED)
    parts = [end - begin for begin, end in zip(began, ended, strict=True)]
    waits["part"].append(100 * 2 * min(parts) / sum(parts))


def _large(client: httpx.Client, items: int) -> str:
    answer = client.post("/v1/jobs?task=burn", content=b"%g\n" % ITEM_MS * items, headers=_lines_type())
    return str(answer.raise_for_status().json()["id"])


def _lines_type() -> Mapping[str, str]:
    return {"Content-Type": "application/jsonl"}


def _done(client: httpx.Client, jobs: Sequence[str]) -> list[int]:
    return [_decode(client.get(f"/v1/jobs/{job}").content).counts["succeeded"] for job in jobs]


def _after(client: httpx.Client, jobs: Sequence[str], results: int) -> list[int]:
    """How many results each has once they have so many together."""
    deadline = monotonic() + STEP_SECONDS_MAX
    bell = f"/v1/jobs/{jobs[0]}/results?wait=1&limit=1&after="
    while sum(done := _done(client, jobs)) < results:
        if monotonic() > deadline:
            raise WrongResult(f"{done} results after {STEP_SECONDS_MAX:g} s")
        client.get(f"{bell}{done[0]}").raise_for_status()
    return done


async def _one_by_one(url: str, count: int) -> list[float]:
    connection = await Connection.open(url)
    waits = [await _wait(connection, 1, SMALL_MS) for _ in range(count)]
    await connection.close()
    return waits


async def _at_once(url: str, count: int) -> list[float]:
    connections = [await Connection.open(url) for _ in range(count)]
    waits = await asyncio.gather(*(_wait(each, SMALL_ITEMS, SMALL_MS) for each in connections))
    for connection in connections:
        await connection.close()
    return waits


async def _wait(connection: Connection, items: int, ms: float) -> float:
    """Milliseconds from the request to the end of its job."""
    body = msgspec.json.encode({"task": "burn", "items": [ms] * items})
    began = perf_counter()
    status, answer = await connection.request("POST", "/v1/jobs", body, _HEADERS)
    took = perf_counter() - began
    if status != 200 or _decode(answer).counts["succeeded"] != items:
        raise WrongResult(f"{status}: {answer[:500]!r}")
    return took * MS


def _in_pool(items: int) -> float:
    """Milliseconds that one item waits in the pool of the standard library behind so many."""
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as pool:
        pool.map(burn, [SMALL_MS] * WORKERS * 4)
        pool.map_async(burn, [ITEM_MS] * items)
        return _timed(lambda: pool.apply(burn, (SMALL_MS,)))


def _in_executor(items: int) -> float:
    """The same in an executor, with chunks of ten."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as executor:
        list(executor.map(burn, [SMALL_MS] * WORKERS * 4))
        executor.map(burn, [ITEM_MS] * items, chunksize=10)
        return _timed(executor.submit(burn, SMALL_MS).result)


def _timed(work: Callable[[], float]) -> float:
    began = perf_counter()
    work()
    return (perf_counter() - began) * MS
