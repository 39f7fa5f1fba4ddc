"""Where the time of a million squares goes, stage by stage: CPU of each, measured alone on the very bytes.

Each stage is the service's own code, fed with what the stage before it makes; the least of several runs counts, which
on a machine that others use too is nearest to what it costs.  Stages run on both cores at once in the service, so the
sum over two is the least time that two cores could take.
"""

import asyncio
import ctypes
import hashlib
import mmap
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from app.domain.digest import is_telling
from app.domain.item import Block, Segment, files_named, strips
from app.domain.job import Counts, Job, Options, Status
from app.service.intake import LineCutter
from app.service.items import BlockReader
from app.service.recent import Recent, Room
from app.stores.sqlite import SqliteStore
from bench.conditions import conditions
from bench.squares import check, json_lines
from workers.calling import Calls, decoded
from workers.context import Here
from workers.interrupt import Interrupter
from workers.light import CALLER, STRETCH_ITEMS, Stretch
from workers.outputs import encoder
from workers.report import Order, Report, Work
from workers.task import TaskSpec
from workers.tasks.numbers import square
from workers.wire import SLOT_BYTES, Frame, FrameReader, Kind, Marks

T = TypeVar("T")

ITEMS = 1_000_000
ITEM_BYTES_MAX = 16 << 20
RUNS = 5
_READ_BYTES = 256 << 10
BODY_BYTES = 64 << 10
_SPEC = TaskSpec.of(square)


class Silent:
    """A flight recorder of a worker that prints nothing."""

    first = ctypes.c_ubyte()
    stack_fd = sys.stderr.fileno()

    def printed(self) -> bool:
        return False

    def take(self) -> str:
        return ""

    def forget_stack(self) -> None: ...


class TimedStretch(Stretch):
    """One that knows how long it took to encode its outputs."""

    encoding_seconds = 0.0

    def _lines(self) -> bytes | None:
        began = time.process_time()
        lines = super()._lines()
        self.encoding_seconds += time.process_time() - began
        return lines


class Table:
    """Stages and their CPU time."""

    def __init__(self, runs: int = RUNS) -> None:
        self.runs = runs
        self.rows: list[tuple[str, str, float]] = []

    def add(self, where: str, stage: str, seconds: float) -> None:
        self.rows.append((where, stage, seconds))

    def measure(self, where: str, stage: str, work: Callable[[], T]) -> T:
        """What `work` gives; its CPU time, of all threads, is noted."""
        best = float("inf")
        for _ in range(self.runs):
            began = time.process_time()
            made = work()
            best = min(best, time.process_time() - began)
        self.add(where, stage, best)
        return made

    def lines(self) -> Iterable[str]:
        whole = sum(seconds for *_, seconds in self.rows)
        yield f"{'where':8} {'stage':44} {'CPU ms':>8} {'share':>6}"
        for where, stage, seconds in self.rows:
            yield f"{where:8} {stage:44} {seconds * 1e3:8.1f} {seconds / whole:6.1%}"
        yield f"{'':8} {'together':44} {whole * 1e3:8.1f}"


def profile(items: int = ITEMS, runs: int = RUNS) -> Table:
    """Every stage, in the order of a job's way."""
    table = Table(runs)
    body = json_lines(items)
    pieces = pieces_of(body)
    table.measure("loop", "fingerprint", lambda: [hashlib.sha256(piece) for piece in pieces])
    blocks = table.measure("loop", "intake: cut at newlines", lambda: cut(pieces))
    table.measure(
        "loop",
        "intake: files that items name",
        lambda: list(map(files_named, strips(*(b.lines for b in blocks)))),
    )
    with TemporaryDirectory(prefix="millpond-profile-") as directory:
        asyncio.run(_through(table, blocks, Path(directory)))
    return table


async def _through(table: Table, blocks: Sequence[Block], directory: Path) -> None:
    store = SqliteStore(directory / "profile.sqlite")
    store.open()
    try:
        await _measured_store(table, store, blocks)
    finally:
        store.close()


async def _measured_store(table: Table, store: SqliteStore, blocks: Sequence[Block]) -> None:
    job = a_job(sum(block.count for block in blocks))
    await stored(table, store, job, blocks)
    framed = table.measure("loop", "frame: chunks of a block", lambda: frames_of(blocks))
    frames = table.measure("both", "send to a worker, and read there", lambda: through_a_socket(framed))
    items = table.measure(
        "worker", "decode", lambda: [decoded(f.body, f.count, _SPEC.exact) or [] for f in frames]
    )
    parts = _worked(table, frames, items)
    received = table.measure("both", "send to the loop, and read there", lambda: through_a_socket(parts))
    check((bytes(part.body) for part in received), job.counts.total)
    segments = await kept(table, store, job, received)
    table.measure("loop", "pages for a follower, from memory", lambda: _followed(segments))
    table.measure("both", "send to a client, and read there", lambda: _streamed(segments))


async def stored(table: Table, store: SqliteStore, job: Job, blocks: Sequence[Block]) -> None:
    """Into the database, and read again."""
    began = time.process_time()
    await store.create_job(job, blocks)
    table.add("writer", "store: items in blocks", time.process_time() - began)
    began = time.process_time()
    for block in blocks:
        await store.read_block(job.id, block.first)
    table.add("reader", "store: blocks read again", time.process_time() - began)


async def kept(table: Table, store: SqliteStore, job: Job, parts: Iterable[Frame]) -> list[Segment]:
    """What workers have sent, as it is appended to the log."""
    segments = segments_of(job, parts)
    table.measure("loop", "digest: is anything to be told", lambda: list(map(is_telling, segments)))
    began = time.process_time()
    for segment in segments:
        await store.append_results([segment], [job], {})
    table.add("writer", "store: append results", time.process_time() - began)
    return segments


def pieces_of(body: bytes) -> list[bytes]:
    """A body as it arrives."""
    return [body[at : at + BODY_BYTES] for at in range(0, len(body), BODY_BYTES)]


def cut(pieces: Iterable[bytes]) -> list[Block]:
    cutter = LineCutter(ITEM_BYTES_MAX)
    return [*(block for piece in pieces for block in cutter.feed(piece)), *cutter.finish()]


def frames_of(blocks: Iterable[Block], head: bytes = b"") -> list[Frame]:
    frames = []
    for number, block in enumerate(blocks, start=1):
        lines, count = BlockReader(block).take(block.first, block.count, 1 << 20, exactly=False)
        assert count == block.count
        frames.append(Frame(Kind.CHUNK, lines, number, block.first, count, head=head))
    return frames


def _worked(table: Table, frames: Sequence[Frame], items: Sequence[list[Any]]) -> list[Frame]:
    """What a worker reports; that it encodes is told apart from that it runs, both of the run that took least."""
    best = float("inf"), 0.0
    for _ in range(table.runs):
        began = time.process_time()
        parts, encoding = _run(frames, items)
        best = min(best, (time.process_time() - began, encoding))
    both, encoding = best
    table.add("worker", "run", both - encoding)
    table.add("worker", "encode, make lines", encoding)
    return parts


def _run(frames: Sequence[Frame], items: Sequence[list[Any]]) -> tuple[list[Frame], float]:
    """What is sent, and the seconds of it that outputs took to be encoded."""
    sent: list[Frame] = []
    encoding = 0.0
    marks = fresh_marks()
    recorder: Any = Silent()
    interrupter = Interrupter(marks, recorder, CALLER)
    order = Order("square", {}, 1, 1, None, None, 0, light=True)
    for frame, values in zip(frames, items, strict=True):
        report = Report(frame, order, (), marks, sent.append)
        work = Work(frame, order, _SPEC, report, Here(report, frame.first))
        form = encoder(_SPEC, report.files)
        stretch = TimedStretch(work, marks, interrupter, recorder, form, lambda *_: None)
        for at in range(0, len(values), STRETCH_ITEMS):
            stretch.run(Calls(_SPEC.function, values[at : at + STRETCH_ITEMS], our_frames=0), at)
            if report.bytes >= _READ_BYTES:
                report.flush()
        report.flush()
        encoding += stretch.encoding_seconds
    return sent, encoding


def fresh_marks() -> Marks:
    marks = Marks(mmap.mmap(-1, SLOT_BYTES), 0)
    marks.clear()
    return marks


def through_a_socket(parts: Iterable[Frame]) -> list[Frame]:
    """Through a socket pair, as far at a time as its buffer goes."""
    ours, theirs = socket.socketpair()
    reader = FrameReader()
    received: list[Frame] = []
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        for part in parts:
            left = [memoryview(buffer) for buffer in part.buffers()]
            while left:
                try:
                    sent = theirs.sendmsg(left)
                except BlockingIOError:
                    received += reader.feed(ours.recv(_READ_BYTES))
                    continue
                while left and sent >= len(left[0]):
                    sent -= len(left.pop(0))
                if sent:
                    left[0] = left[0][sent:]
        theirs.shutdown(socket.SHUT_WR)
        while data := ours.recv(_READ_BYTES):
            received += reader.feed(data)
    return received


def segments_of(job: Job, parts: Iterable[Frame]) -> list[Segment]:
    """What parts that were received become in the log."""
    segments: list[Segment] = []
    done = 0
    for part in parts:
        segments.append(Segment(job.id, part.first, part.count, part.failed, done, 0, bytes(part.body)))
        done += part.count
    assert done == job.counts.total, f"{done} results"
    return segments


def _followed(segments: Iterable[Segment]) -> int:
    recent, room, after = Recent(), Room(), 0
    for segment in segments:
        recent.add(segment, room)
        page = recent.page(after, 1 << 20)
        assert page is not None
        after = page.next_after
    return after


def _streamed(segments: Iterable[Segment]) -> list[Frame]:
    return through_a_socket(Frame(Kind.PART, segment.lines) for segment in segments)


def a_job(items: int) -> Job:
    return Job("profile", "square", Status.QUEUED, Counts(items), Options(), datetime.now(UTC))


if __name__ == "__main__":
    print(conditions("bench.profile", ()), *profile().lines(), sep="\n")
