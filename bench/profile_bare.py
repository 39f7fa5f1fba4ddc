"""`python -m bench.profile_bare`: what the dearest stages of a million squares cost with nothing of ours around them.

Read it beside `make profile`, whose stages "decode", "run", "encode, make lines" and "store: append results" do the
same with all that the service promises.  CPU time, the least of several runs: of a million items, so ms are also ns
for each.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from bench.conditions import conditions
from bench.squares import check, json_lines
from workers.light import STRETCH_ITEMS
from workers.tasks.numbers import square

ITEMS, RUNS = 1_000_000, 5
COMMITS = 150
"""About so many transactions such a job's results are written in."""


class _Line(msgspec.Struct, gc=False):
    index: int
    output: Any


def floors(items: int = ITEMS, runs: int = RUNS) -> Mapping[str, float]:
    """CPU seconds, by what is done.  WrongResult if a square is not one."""
    body = json_lines(items)
    decode = msgspec.json.Decoder(int).decode_lines
    values = decode(body)
    outputs = _called(values)
    lines = _encoded(outputs)
    check(lines, items)
    with TemporaryDirectory(prefix="millpond-bench-") as directory:
        todo: Mapping[str, Callable[[], object]] = {
            "decode": lambda: decode(body),
            "call each, and keep what it returns": lambda: _called(values),
            "the same, with a clock read after each": lambda: _timed(values),
            "an object for each line, and its encoding": lambda: _encoded(outputs),
            f"the lines to SQLite, in {COMMITS} transactions": lambda: _stored(lines, Path(directory)),
            f"the lines to a file, in {COMMITS} writes": lambda: _written(lines, Path(directory)),
        }
        return {what: min(_cpu_seconds(work) for _ in range(runs)) for what, work in todo.items()}


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _called(values: list[int]) -> list[Any]:
    outputs: list[Any] = []
    function, append = square, outputs.append
    for value in values:
        append(function(value))
    return outputs


def _timed(values: list[int]) -> list[Any]:
    outputs: list[Any] = []
    function, append, clock = square, outputs.append, time.perf_counter
    for value in values:
        append(function(value))
        clock()
    return outputs


def _encoded(outputs: list[Any]) -> list[bytes]:
    """As many at once as a worker does."""
    encode = msgspec.json.Encoder().encode_lines
    stretches = (outputs[at : at + STRETCH_ITEMS] for at in range(0, len(outputs), STRETCH_ITEMS))
    firsts = range(0, len(outputs), STRETCH_ITEMS)
    return [
        encode(list(map(_Line, range(first, first + len(some)), some)))
        for first, some in zip(firsts, stretches, strict=True)
    ]


def _pieces(lines: list[bytes]) -> list[bytes]:
    step = -(-len(lines) // COMMITS)
    return [b"".join(lines[at : at + step]) for at in range(0, len(lines), step)]


def _stored(lines: list[bytes], directory: Path) -> None:
    """Through the log into the database, as the store has it, without the wait for the disk."""
    path = directory / "floor.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE segments (lines BLOB)")
        for piece in _pieces(lines):
            connection.execute("INSERT INTO segments VALUES (?)", (piece,))


def _written(lines: list[bytes], directory: Path) -> None:
    with (directory / "floor.jsonl").open("wb", buffering=0) as file:
        for piece in _pieces(lines):
            file.write(piece)


def main() -> None:
    """Print milliseconds."""
    print(conditions("bench.profile_bare", ()))
    print(f"{f'{ITEMS:,} squares':<48}{'CPU ms':>10}")
    for what, seconds in floors().items():
        print(f"{what:<48}{seconds * 1e3:>10.1f}")


if __name__ == "__main__":
    main()
