"""`python -m bench.compressed`: whether it would pay to compress the results that are stored.

Results as workers report them, part by part, are appended to a store as they are, and compressed by whatever is
installed: zlib always, zstandard and lz4 if they happen to be there; it says which are not.  What is told is CPU time
of all threads for each MiB of results, the least of several runs: to compress, to store what is left of them, and to
read them again.  It pays in time where the first two together are less than to store them as they are.
"""

import asyncio
import base64
import importlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import compress, decompress

import msgspec

from app.domain.item import Segment
from app.stores.sqlite import SqliteStore
from bench.conditions import conditions
from bench.figure import WrongResult
from bench.payloads import CHARS, texts_of
from bench.profile import a_job, cut, frames_of, pieces_of, segments_of, through_a_socket
from bench.profile_large import reported
from bench.squares import json_lines
from workers.report import Order
from workers.tasks.numbers import echo, square
from workers.wire import Kind

SQUARES, TEXTS, RUNS = 1_000_000, 300, 5
MIB = 1 << 20

OPTIONAL = ("zstandard", "lz4")

Codec = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]
"""There and back."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of results in one form; CPU milliseconds for each MiB of results."""

    share: float
    """Bytes by those of the results as they are."""
    compress_ms: float
    store_ms: float
    decompress_ms: float


def measure(squares: int = SQUARES, texts: int = TEXTS, runs: int = RUNS) -> dict[tuple[str, str], Cost]:
    """By kind and codec."""
    kinds = {
        "W1: squares": _results(json_lines(squares), square, light=True),
        "W8: a phrase, repeated": _results(_lines(texts_of(texts)), echo),
        "100 KB of base64 noise": _results(_lines(_noise(texts)), echo),
    }
    return {
        (kind, name): cost_of(segments, codec, runs)
        for kind, segments in kinds.items()
        for name, codec in codecs().items()
    }


def codecs() -> Mapping[str, Codec]:
    """As they are, and whatever is installed."""
    found: dict[str, Codec] = {
        "as they are": (bytes, bytes),
        "zlib, level 1": (lambda data: compress(data, 1), decompress),
    }
    if find_spec("zstandard"):
        zstandard: Any = importlib.import_module("zstandard")
        for level in (1, -5):
            name = f"zstandard, level {level}"
            found[name] = zstandard.ZstdCompressor(level).compress, zstandard.ZstdDecompressor().decompress
    if find_spec("lz4"):
        lz4: Any = importlib.import_module("lz4.frame")
        found["lz4"] = lz4.compress, lz4.decompress
    return found


def _results(body: bytes, function: Callable[[Any], Any], *, light: bool = False) -> list[Segment]:
    """The segments of a job with these items, made by the service's own code."""
    blocks = cut(pieces_of(body))
    job = a_job(sum(block.count for block in blocks))
    head = msgspec.json.encode(Order(function.__name__, {}, 1, 1, None, None, 0, light=light))
    reports = reported(frames_of(blocks, head), function)
    return segments_of(job, [frame for frame in through_a_socket(reports) if frame.kind is Kind.PART])


def cost_of(segments: Sequence[Segment], codec: Codec, runs: int) -> Cost:
    """WrongResult if they do not come back as they were."""
    there, back = codec
    size = sum(len(segment.lines) for segment in segments)
    ms = 1e3 * MIB / size
    packing, packed = _least(runs, lambda: [there(segment.lines) for segment in segments])
    unpacking, lines = _least(runs, lambda: list(map(back, packed)))
    if lines != [segment.lines for segment in segments]:
        raise WrongResult("what was compressed is another thing now")
    stored = [
        msgspec.structs.replace(segment, lines=data) for segment, data in zip(segments, packed, strict=True)
    ]
    storing = min(_seconds_to_store(stored) for _ in range(runs))
    return Cost(sum(map(len, packed)) / size, packing * ms, storing * ms, unpacking * ms)


def _least(runs: int, work: Callable[[], list[bytes]]) -> tuple[float, list[bytes]]:
    """CPU seconds, and what was made."""
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        made = work()
        best = min(best, time.process_time() - began)
    return best, made


def _seconds_to_store(segments: Sequence[Segment]) -> float:
    """CPU seconds of all threads until they are in the database, or in files beside it."""
    job = a_job(sum(segment.count for segment in segments))

    async def append() -> None:
        for segment in segments:
            await store.append_results([segment], [job], {})

    with TemporaryDirectory(prefix="millpond-bench-") as directory:
        store = SqliteStore(Path(directory, "store.sqlite"))
        store.open()
        asyncio.run(store.create_job(job, []))
        began = time.process_time()
        asyncio.run(append())
        store.close()
        return time.process_time() - began


def _lines(texts: Sequence[str]) -> bytes:
    return b"".join(b"%b\n" % msgspec.json.encode(text) for text in texts)


def _noise(count: int) -> list[str]:
    """What a picture looks like in JSON."""
    source = random.Random(1)
    return [base64.b64encode(source.randbytes(CHARS * 3 // 4)).decode() for _ in range(count)]


def main() -> None:
    """Print a line for each kind and codec."""
    print(conditions("bench.compressed", ()))
    print(
        f"{'CPU ms a MiB of results':28}{'':22}{'share':>7}{'compress':>10}{'store':>8}{'both':>8}{'read':>8}"
    )
    for (kind, name), cost in measure().items():
        both = cost.compress_ms + cost.store_ms
        numbers = f"{cost.compress_ms:10.2f}{cost.store_ms:8.2f}{both:8.2f}{cost.decompress_ms:8.2f}"
        print(f"{kind:28}{name:22}{cost.share:7.1%}{numbers}")
    for left_out in left_out_of(OPTIONAL):
        print(left_out)


def left_out_of(modules: Iterable[str]) -> list[str]:
    """Those that are not installed, in words."""
    return [f"{module} is left out: it is not installed" for module in modules if not find_spec(module)]


if __name__ == "__main__":
    main()
