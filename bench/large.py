"""W5: ten million items: as fast for each as a million are, and in as little memory as none.

The reference is a job of a tenth of the items, run before and after.  Each run has a service of its own, since a peak
of memory is that of its whole life.  Results are kept in a file and checked at the end, so that the check takes nothing
from what is measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import psutil

from bench.figure import Figure, at_most, ratio_at_most
from bench.following import as_lines, follow_into
from bench.scale import WORKERS, Scale
from bench.server import Server, serving
from bench.squares import check, json_lines
from bench.timing import timed

SHARE = 10
"""How many times the items of the reference."""
_PIECE_BYTES = 16 << 20
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Size:
    items: int
    runs: int


SIZES: Mapping[Scale, Size] = {
    "full": Size(10_000_000, 5),
    "quick": Size(3_000_000, 1),
    "tiny": Size(20_000, 1),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds for each item, of the large job and of those before and after; bytes of the serving process."""

    many: float
    few: tuple[float, float]
    idle_bytes: int
    peak_bytes: int


def measure(scale: Scale) -> list[Figure]:
    """Times for each item, and the most memory that the serving process had.  WrongResult unless all are right."""
    size = SIZES[scale]
    runs = [_run(size.items) for _ in range(size.runs)]
    many = f"{size.items:,} items"
    return [
        Figure(
            "a job ten times as large, for each item",
            many,
            [run.many * 1e6 for run in runs],
            "µs",
            [seconds * 1e6 for run in runs for seconds in run.few],
            "a tenth of the items",
            ratio_at_most(1.15),
        ),
        Figure(
            "peak RSS of the serving process, above idle",
            many,
            [(run.peak_bytes - run.idle_bytes) / MIB for run in runs],
            "MiB",
            target=at_most(96),
        ),
        Figure("RSS of the serving process, idle", "", [run.idle_bytes / MIB for run in runs], "MiB"),
    ]


def _run(items: int) -> Run:
    few = items // SHARE
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory, "data"), processes=str(WORKERS)) as server,
    ):
        results = Path(directory, "results.jsonl")
        idle = psutil.Process(server.pid).memory_info().rss
        before = _seconds_an_item(server, few, results)
        here = _seconds_an_item(server, items, results)
        after = _seconds_an_item(server, few, results)
        return Run(here, (before, after), idle, server.peak_rss_bytes)


def _seconds_an_item(server: Server, count: int, path: Path) -> float:
    """From the first byte sent to the last received."""
    lines = json_lines(count)
    with path.open("w+b") as file:
        took, _ = timed(follow_into, file, server.url, as_lines("square", lines))
        file.seek(0)
        check(_whole_lines(file), count)
    return took / count


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The file in pieces that end where lines do."""
    while piece := file.read(_PIECE_BYTES):
        yield piece + file.readline()
