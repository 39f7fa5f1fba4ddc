"""W1: a million squares, their results followed to the end, against `multiprocessing.Pool.map`.

The service is timed from the first byte sent to the last byte received, when every result is on its disk too.
The first reference is `map` alone, from a range to a list; the second makes the same bytes of the same bytes,
reading and writing JSON as one would around `map`.  Neither keeps anything.
"""

import json
import multiprocessing
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figure import Figure, ratio_at_most
from bench.following import as_document, as_lines, follow
from bench.scale import WORKERS, Scale
from bench.server import serving
from bench.squares import check, json_array, json_lines, json_objects
from bench.timing import timed
from workers.tasks.numbers import square

MAP = f"Pool({WORKERS}).map"


@dataclass(frozen=True, slots=True)
class Size:
    items: int
    runs: int


SIZES: Mapping[Scale, Size] = {
    "full": Size(1_000_000, 5),
    "quick": Size(1_000_000, 1),
    "tiny": Size(2_000, 1),
}


def measure(scale: Scale) -> list[Figure]:
    """Wall times.  WrongResult unless each index came once, squared."""
    size = SIZES[scale]
    lines, array, objects = (form(size.items) for form in (json_lines, json_array, json_objects))
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS)) as server,
        multiprocessing.get_context("forkserver").Pool(WORKERS) as pool,
    ):
        pool.map(square, range(WORKERS * 100))
        for _ in range(size.runs):
            took, text = timed(follow, server.url, as_lines("square", lines))
            check([text], size.items)
            seconds["lines"].append(took)
            took, squares = timed(pool.map, square, range(size.items))
            assert squares[-1] == (size.items - 1) ** 2
            seconds["map"].append(took)
            took, text = timed(follow, server.url, as_document("square", array))
            check([text], size.items)
            seconds["array"].append(took)
            took, text = timed(follow, server.url, as_lines("square", objects, key_field="x"))
            check([text], size.items)
            seconds["objects"].append(took)
            took, text = timed(mapped_lines, pool, lines)
            check([text], size.items)
            seconds["map and json"].append(took)
    what, items = "squares, as JSON lines", f"{size.items:,} items"
    return [
        Figure(what, items, seconds["lines"], "s", seconds["map"], MAP, ratio_at_most(1.6)),
        Figure(
            "squares, as a JSON array", items, seconds["array"], "s", seconds["map"], MAP, ratio_at_most(2.0)
        ),
        Figure("squares, as objects with keys", items, seconds["objects"], "s", seconds["map"], MAP),
        Figure(what, items, seconds["lines"], "s", seconds["map and json"], f"{MAP} and json"),
    ]


def mapped_lines(pool: Pool, body: bytes) -> bytes:
    """What the service makes of these items, by `Pool.map`."""
    squares = pool.map(square, [json.loads(line) for line in body.splitlines()])
    lines = (json.dumps({"index": index, "output": output}) for index, output in enumerate(squares))
    return "\n".join(lines).encode()
