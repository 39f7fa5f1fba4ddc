"""W4: four hundred items of CPU work whose costs differ, against the best that two workers could do, and `Pool.map`.

The ideal is what workers take that never wait and pay for nothing but the items.  `map` cuts its chunks before it
knows what they cost.
"""

import multiprocessing
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.figure import Figure, Target, WrongResult, ratio_at_most
from bench.following import as_document, follow
from bench.makespan import IDEAL, costs_of, ideal_seconds
from bench.scale import WORKERS, Scale
from bench.server import serving
from bench.timing import timed
from workers.tasks.faults import burn

MAP = f"Pool({WORKERS}).map"


@dataclass(frozen=True, slots=True)
class Size:
    items: int
    runs: int
    mean_ms: float = 10.0


SIZES: Mapping[Scale, Size] = {"full": Size(400, 5), "quick": Size(400, 1), "tiny": Size(12, 1, 0.5)}

TARGETS: Mapping[str, tuple[Target | None, Target | None]] = {
    "uniform": (ratio_at_most(1.03), ratio_at_most(1.0)),
    "uniform, half": (None, ratio_at_most(1.05)),
    "lognormal": (None, ratio_at_most(1.0)),
    "growing": (None, ratio_at_most(1.0)),
    "bimodal": (None, None),
}
"""By the ideal, and by `map`."""


class Line(msgspec.Struct):
    """A result; decoding fails where there is no output."""

    index: int
    output: float


_lines = msgspec.json.Decoder(Line).decode_lines


def measure(scale: Scale) -> list[Figure]:
    """From the request to the last result.  WrongResult unless each item used the CPU it was told to."""
    size = SIZES[scale]
    costs = {kind: costs_of(kind, size.items, size.mean_ms) for kind in TARGETS}
    served: defaultdict[str, list[float]] = defaultdict(list)
    mapped: defaultdict[str, list[float]] = defaultdict(list)
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(
            Path(directory), processes=str(WORKERS), tasks="workers.tasks,workers.tasks.faults"
        ) as server,
        multiprocessing.get_context("forkserver").Pool(WORKERS) as pool,
    ):
        pool.map(burn, [1.0] * WORKERS * 4)
        for _ in range(size.runs):
            for kind, costs_ms in costs.items():
                submission = as_document("burn", msgspec.json.encode(costs_ms))
                took, text = timed(follow, server.url, submission)
                check(text, costs_ms)
                served[kind].append(took)
                mapped[kind].append(timed(by_map, pool, costs_ms)[0])
    return [
        figure
        for kind, (of_ideal, of_map) in TARGETS.items()
        for figure in (
            _figure(kind, size, served[kind], [ideal_seconds(costs[kind], WORKERS)], IDEAL, of_ideal),
            _figure(kind, size, served[kind], mapped[kind], MAP, of_map),
        )
    ]


def _figure(
    kind: str,
    size: Size,
    served: Sequence[float],
    references: Sequence[float],
    against: str,
    target: Target | None,
) -> Figure:
    mean = size.mean_ms / 2 if kind == "uniform, half" else size.mean_ms
    count = f"{size.items} of {mean:g} ms"
    return Figure(f"costs: {kind}", count, served, "s", references, against, target)


def by_map(pool: Pool, costs_ms: Sequence[float]) -> None:
    """One output for each."""
    used = pool.map(burn, costs_ms)
    assert len(used) == len(costs_ms)


def check(text: bytes, costs_ms: Sequence[float]) -> None:
    """These are the results of `burn`: each item came once and used the CPU it was told to, else WrongResult."""
    lines = _lines(text)
    if sorted(line.index for line in lines) != list(range(len(costs_ms))):
        raise WrongResult(f"{len(lines)} results of {len(costs_ms)} items")
    for line in lines:
        if line.output < costs_ms[line.index]:
            raise WrongResult(f"item {line.index} used {line.output} ms, not {costs_ms[line.index]}")
