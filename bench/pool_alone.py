"""The pool alone, without HTTP and store, against `multiprocessing.Pool` in the same run.

The loop is the service's own, uvloop.  It stands still while the reference is measured: that blocks it, on purpose.
What becomes of the pool when things go wrong is in `pool_recovery`.
"""

import asyncio
import json
import multiprocessing
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from time import perf_counter
from typing import TypeVar

import msgspec
import uvloop

from app.service.cutting import elements
from bench import costs, payloads
from bench.costs import MAP
from bench.figure import Figure, Target, WrongResult, at_most, percentile, ratio_at_most
from bench.makespan import IDEAL, costs_of, ideal_seconds
from bench.pool_driver import Driver, driving
from bench.scale import WORKERS, Scale
from bench.squares import Line, check, json_array, json_lines
from bench.timing import timed
from workers.tasks.numbers import square

MAP_JSON = f"{MAP} and json"
APPLY, APPLY_ALL = "Pool.apply_async().get()", "Pool.apply_async(), then get()"
ITEM_BYTES_MAX = 8 << 20
PIECE_BYTES = 64 << 10
"""About what a server gets of a body at a time."""
LAG_LOOK_SECONDS = 0.001
MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Size:
    runs: int
    items: int
    singles: int
    alone: int
    """Jobs of one item that are made one at a time."""
    costly: int
    mean_ms: float
    large: int


SIZES: Mapping[Scale, Size] = {
    "full": Size(5, 1_000_000, 10_000, 2_000, 200, 10.0, 1_000),
    "quick": Size(1, 1_000_000, 10_000, 2_000, 200, 10.0, 500),
    "tiny": Size(1, 2_000, 50, 10, 8, 1.0, 4),
}

T = TypeVar("T")
Samples = defaultdict[str, list[float]]
_Reference = tuple[Sequence[float], str, Target | None]

_line = msgspec.json.Decoder(Line).decode


def measure(scale: Scale) -> list[Figure]:
    """Wall times of the same work here and there.  WrongResult unless every result is right."""
    size = SIZES[scale]
    ours: Samples = defaultdict(list)
    theirs: Samples = defaultdict(list)
    with (
        multiprocessing.get_context("forkserver").Pool(WORKERS) as pool,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        pool.map(square, range(WORKERS * 100))
        runner.run(_measure(size, pool, ours, theirs))
    return _figures(size, ours, theirs)


async def _measure(size: Size, pool: Pool, ours: Samples, theirs: Samples) -> None:
    async with driving(Driver) as driver:
        await driver.map("square", json_lines(200), 200)
        for _ in range(size.runs):
            await _squares(size, driver, pool, ours, theirs)
            await _singles(size, driver, pool, ours, theirs)
            await _costly(size, driver, pool, ours, theirs)
            await _large(size, driver, pool, ours, theirs)


async def _squares(size: Size, driver: Driver, pool: Pool, ours: Samples, theirs: Samples) -> None:
    """A million of them: as lines, with what that does to the loop, and as one JSON document in and out."""
    lag: list[float] = []
    watching = asyncio.create_task(_watch_lag(lag))
    took, pieces = await _timed(driver.map("square", json_lines(size.items), size.items))
    watching.cancel()
    check(pieces, size.items)
    ours["lines"].append(took)
    ours["lag"].append(percentile(lag, 99) * MS)
    theirs["lines"].append(timed(pool.map, square, range(size.items))[0])
    array = json_array(size.items)
    took, document = await _timed(_document(driver, array))
    check([document], size.items)
    ours["document"].append(took)
    took, document = timed(_mapped_document, pool, array)
    assert json.loads(document) == [number**2 for number in range(size.items)]
    theirs["document"].append(took)


async def _singles(size: Size, driver: Driver, pool: Pool, ours: Samples, theirs: Samples) -> None:
    """Jobs of one item, one at a time and all at the same moment; and as many items that are one job."""
    count = size.singles
    ours["at once"].append((await _timed(_at_once(driver, count)))[0])
    theirs["at once"].append(timed(_apply_at_once, pool, count)[0])
    took, pieces = await _timed(driver.map("square", json_lines(count), count))
    check(pieces, count)
    ours["one job"].append(took)
    few = range(size.alone)
    ours["alone"].append(percentile([(await _timed(_one(driver, n)))[0] * MS for n in few], 50))
    theirs["alone"].append(percentile([timed(_apply, pool, n)[0] * MS for n in few], 50))


async def _costly(size: Size, driver: Driver, pool: Pool, ours: Samples, theirs: Samples) -> None:
    """CPU work of equal, of very different and of growing cost."""
    for kind in ("uniform, half", "lognormal", "growing"):
        costs_ms = costs_of(kind, size.costly, size.mean_ms)
        lines = b"".join(b"%b\n" % msgspec.json.encode(cost) for cost in costs_ms)
        began = perf_counter()
        run = driver.submit("burn", lines, len(costs_ms))
        await run.ended
        ours[kind].append(perf_counter() - began)
        costs.check(b"".join(run.results), costs_ms)
        theirs[kind].append(timed(costs.by_map, pool, costs_ms)[0])
        if kind == "uniform, half":
            assert run.first_at is not None
            ours["first"].append((run.first_at - began) * MS)


async def _large(size: Size, driver: Driver, pool: Pool, ours: Samples, theirs: Samples) -> None:
    """Texts of 100 KB, there and back."""
    texts = payloads.texts_of(size.large)
    body = b"".join(b"%b\n" % msgspec.json.encode(text) for text in texts)
    took, pieces = await _timed(driver.map("echo", body, len(texts)))
    payloads.check(b"".join(pieces), texts)
    ours["large"].append(took)
    took, answer = timed(payloads.mapped_lines, pool, body)
    payloads.check(answer, texts)
    theirs["large"].append(took)


def _figures(size: Size, ours: Samples, theirs: Samples) -> list[Figure]:
    items, singles, alone = (f"{count:,} items" for count in (size.items, size.singles, size.alone))
    half, mixed = f"{size.costly} of {size.mean_ms / 2:g} ms", f"{size.costly} of {size.mean_ms:g} ms"
    ideal = [ideal_seconds(costs_of("uniform, half", size.costly, size.mean_ms), WORKERS)]

    def against(name: str, other: str, bound: float) -> _Reference:
        return theirs[name], other, ratio_at_most(bound)

    def ours_only(target: Target) -> _Reference:
        return (), "", target

    rows: tuple[tuple[str, str, str, str, _Reference], ...] = (
        ("squares, as JSON lines", items, "lines", "s", against("lines", MAP, 0.6)),
        ("squares, as a JSON document", items, "document", "s", against("document", MAP_JSON, 1.0)),
        ("single items at once", singles, "at once", "s", against("at once", APPLY_ALL, 1.6)),
        ("as many items, as one job", singles, "one job", "s", (theirs["at once"], APPLY_ALL, None)),
        ("single items, one at a time, p50", alone, "alone", "ms", against("alone", APPLY, 0.8)),
        ("costs: uniform, half", half, "uniform, half", "s", (ideal, IDEAL, ratio_at_most(1.06))),
        ("costs: lognormal", mixed, "lognormal", "s", against("lognormal", MAP, 0.92)),
        ("costs: growing", mixed, "growing", "s", against("growing", MAP, 0.92)),
        ("large items", f"{size.large:,} x 100 KB", "large", "s", against("large", MAP_JSON, 0.8)),
        ("first result", half, "first", "ms", ours_only(at_most(10 + size.mean_ms / 2))),
        ("loop lag while squaring, p99", items, "lag", "ms", ours_only(at_most(10))),
    )
    return [Figure(what, count, ours[name], unit, *reference) for what, count, name, unit, reference in rows]


async def _timed(work: Awaitable[T]) -> tuple[float, T]:
    began = perf_counter()
    result = await work
    return perf_counter() - began, result


async def _watch_lag(lag: list[float]) -> None:
    """How much later than it asked to be this was woken, again and again."""
    while True:
        due = perf_counter() + LAG_LOOK_SECONDS
        await asyncio.sleep(LAG_LOOK_SECONDS)
        lag.append(perf_counter() - due)


async def _document(driver: Driver, array: bytes) -> bytes:
    """The result lines of a JSON array of squares, as one text; it is cut as the service cuts one that arrives."""
    blocks = await elements(_pieces(array), ITEM_BYTES_MAX)
    lines = b"".join(block.lines for block in blocks)
    return b"".join(await driver.map("square", lines, sum(block.count for block in blocks)))


async def _pieces(text: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(text), PIECE_BYTES):
        yield text[at : at + PIECE_BYTES]


def _mapped_document(pool: Pool, array: bytes) -> bytes:
    return json.dumps(pool.map(square, json.loads(array))).encode()


async def _one(driver: Driver, number: int) -> None:
    (piece,) = await driver.map("square", b"%d\n" % number, 1)
    if _line(piece).output != number**2:
        raise WrongResult(f"the square of {number}: {piece!r}")


async def _at_once(driver: Driver, count: int) -> None:
    """Each a job of its own, all waiting at the same moment."""
    await asyncio.gather(*(_one(driver, number) for number in range(count)))


def _apply(pool: Pool, number: int) -> None:
    assert pool.apply_async(square, (number,)).get() == number**2


def _apply_at_once(pool: Pool, count: int) -> None:
    results = [pool.apply_async(square, (number,)) for number in range(count)]
    assert [result.get() for result in results] == [number**2 for number in range(count)]
