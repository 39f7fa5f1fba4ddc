"""W8: a thousand items of 100 KB that come back as they went, against `multiprocessing.Pool.map`.

The first reference moves texts between processes, as pickles; the second reads them from JSON and writes them to it
as well, as one would around `map`.
"""

import json
import multiprocessing
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.figure import Figure, WrongResult, ratio_at_most
from bench.following import as_lines, follow
from bench.scale import WORKERS, Scale
from bench.server import serving
from bench.timing import timed
from workers.tasks.numbers import echo

CHARS = 100_000
MAP = f"Pool({WORKERS}).map"


@dataclass(frozen=True, slots=True)
class Size:
    items: int
    runs: int


SIZES: Mapping[Scale, Size] = {"full": Size(1_000, 5), "quick": Size(1_000, 1), "tiny": Size(10, 1)}


class Line(msgspec.Struct):
    """A result; decoding fails where there is no output."""

    index: int
    output: str


_lines = msgspec.json.Decoder(Line).decode_lines


def measure(scale: Scale) -> list[Figure]:
    """Wall times.  WrongResult unless every text came back."""
    size = SIZES[scale]
    texts = texts_of(size.items)
    body = b"".join(b"%b\n" % msgspec.json.encode(text) for text in texts)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS)) as server,
        multiprocessing.get_context("forkserver").Pool(WORKERS) as pool,
    ):
        pool.map(echo, texts[: WORKERS * 4])
        for _ in range(size.runs):
            took, answer = timed(follow, server.url, as_lines("echo", body))
            check(answer, texts)
            seconds["served"].append(took)
            took, echoed = timed(pool.map, echo, texts)
            assert echoed == texts
            seconds["map"].append(took)
            took, answer = timed(mapped_lines, pool, body)
            check(answer, texts)
            seconds["map and json"].append(took)
    what, items = "large items, there and back", f"{size.items:,} x 100 KB"
    return [
        Figure(what, items, seconds["served"], "s", seconds["map"], MAP, ratio_at_most(1.5)),
        Figure(what, items, seconds["served"], "s", seconds["map and json"], f"{MAP} and json"),
    ]


def texts_of(count: int) -> list[str]:
    """Texts of 100 KB, no two alike."""
    return [f"{number:06}-{'lorem ipsum ' * (CHARS // 12)}"[:CHARS] for number in range(count)]


def mapped_lines(pool: Pool, body: bytes) -> bytes:
    """What the service makes of these items, by `Pool.map`."""
    echoed = pool.map(echo, [json.loads(line) for line in body.splitlines()])
    lines = (json.dumps({"index": index, "output": output}) for index, output in enumerate(echoed))
    return "\n".join(lines).encode()


def check(answer: bytes, texts: Sequence[str]) -> None:
    """Each text came once and as it was, else WrongResult."""
    lines = _lines(answer)
    if sorted(line.index for line in lines) != list(range(len(texts))):
        raise WrongResult(f"{len(lines)} results of {len(texts)} items")
    if any(line.output != texts[line.index] for line in lines):
        raise WrongResult("a text came back as another")
