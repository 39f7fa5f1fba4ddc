"""A million squares, as JSON lines in and out in one request, against `multiprocessing.Pool.map`.

The service is timed from the first byte sent to the last byte received, when every result is on its disk too.
The first reference is `map` alone, from a range to a list; the second makes the same bytes of the same bytes,
reading and writing JSON as one would around `map`.  Neither keeps anything.
"""

import json
import multiprocessing
from http.client import HTTPConnection
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import msgspec

from bench.report import Figure, WrongResult, timed
from bench.server import serving
from workers.tasks.numbers import square

ITEMS = 1_000_000
PROCESSES = 2
_READ_BYTES = 1 << 20


class Line(msgspec.Struct):
    """A result; decoding fails where there is no output."""

    index: int
    output: int


_lines = msgspec.json.Decoder(Line).decode_lines


def measure(runs: int) -> list[Figure]:
    """Wall times, and the most memory the serving process had.  WrongResult unless each index came once, squared."""
    body = b"".join(b"%d\n" % number for number in range(ITEMS))
    served: list[float] = []
    converted: list[float] = []
    mapped: list[float] = []
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(PROCESSES)) as server,
        multiprocessing.get_context("forkserver").Pool(PROCESSES) as pool,
    ):
        pool.map(square, range(PROCESSES * 100))
        for run in range(runs):
            took, text = timed(_put, server.url, f"million-{run}", body)
            served.append(took)
            _check(_lines(text))
            took, squares = timed(pool.map, square, range(ITEMS))
            assert squares[-1] == (ITEMS - 1) ** 2
            mapped.append(took)
            took, text = timed(_mapped_lines, pool, body)
            _check(_lines(text))
            converted.append(took)
        peak = server.peak_rss_bytes
    what, against = f"{ITEMS:,} squares, JSON lines", f"Pool({PROCESSES}).map"
    return [
        Figure(what, median(served), "s", median(mapped), against),
        Figure(what, median(served), "s", median(converted), f"{against} and json"),
        Figure("peak RSS of the serving process", peak / 2**20, "MiB"),
    ]


def _put(url: str, job_id: str, body: bytes) -> bytes:
    """The results of a job, once all have come."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        connection.request("PUT", f"/v1/jobs/{job_id}?task=square&follow=1", body)
        response = connection.getresponse()
        pieces = list(iter(lambda: response.read(_READ_BYTES), b""))
    finally:
        connection.close()
    text = b"".join(pieces)
    if response.status != 200:
        raise WrongResult(f"{response.status}: {text[:500]!r}")
    return text


def _mapped_lines(pool: Pool, body: bytes) -> bytes:
    """What `_put` gives, by `Pool.map`."""
    squares = pool.map(square, [json.loads(line) for line in body.splitlines()])
    lines = (json.dumps({"index": index, "output": output}) for index, output in enumerate(squares))
    return "\n".join(lines).encode()


def _check(lines: list[Line]) -> None:
    if sorted(line.index for line in lines) != list(range(ITEMS)):
        raise WrongResult(f"{len(lines)} results, not one for each of {ITEMS} items")
    for line in lines:
        if line.output != line.index**2:
            raise WrongResult(f"the square of {line.index} is not {line.output}")
