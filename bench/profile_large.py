"""Where the time of a thousand items of 100 KB goes, stage by stage, as `bench.profile` tells of a million squares."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from app.domain.item import Block, files_named, strips
from app.stores.sqlite import SqliteStore
from bench import payloads
from bench.conditions import conditions
from bench.profile import (
    RUNS,
    Silent,
    Table,
    a_job,
    cut,
    frames_of,
    fresh_marks,
    kept,
    pieces_of,
    stored,
    through_a_socket,
)
from workers.chunk import Runner
from workers.limits import ChildLimits
from workers.report import Order
from workers.task import TaskSpec
from workers.tasks.numbers import echo
from workers.wire import Frame, Kind

ITEMS = 1_000
_HEAD = msgspec.json.encode(Order("echo", {}, 1, 1, None, None, 0))


def profile(items: int = ITEMS, runs: int = RUNS) -> Table:
    """Every stage, in the order of a job's way.  WrongResult if a text comes back as another."""
    table = Table(runs)
    texts = payloads.texts_of(items)
    body = b"".join(b"%b\n" % msgspec.json.encode(text) for text in texts)
    pieces = pieces_of(body)
    table.measure("both", "sent by a client, and read here", lambda: through_a_socket(_parts(pieces)))
    table.measure("loop", "fingerprint", lambda: [hashlib.sha256(piece) for piece in pieces])
    blocks = table.measure("loop", "intake: cut at newlines", lambda: cut(pieces))
    table.measure(
        "loop",
        "intake: files that items name",
        lambda: list(map(files_named, strips(*(b.lines for b in blocks)))),
    )
    with TemporaryDirectory(prefix="millpond-profile-") as directory:
        store = SqliteStore(Path(directory, "profile.sqlite"))
        store.open()
        try:
            results = asyncio.run(_through(table, store, blocks))
        finally:
            store.close()
    payloads.check(b"".join(results), texts)
    return table


async def _through(table: Table, store: SqliteStore, blocks: Sequence[Block]) -> list[bytes]:
    """The result lines, in pieces."""
    job = a_job(sum(block.count for block in blocks))
    await stored(table, store, job, blocks)
    framed = table.measure("loop", "frame: chunks of a block", lambda: frames_of(blocks, _HEAD))
    frames = table.measure("both", "send to a worker, and read there", lambda: through_a_socket(framed))
    sent = table.measure(
        "worker", "decode, validate, run, encode, make lines", lambda: reported(frames, echo)
    )
    received = table.measure("both", "send to the loop, and read there", lambda: through_a_socket(sent))
    segments = await kept(table, store, job, [frame for frame in received if frame.kind is Kind.PART])
    results = [segment.lines for segment in segments]
    table.measure("both", "send to a client, and read there", lambda: through_a_socket(_parts(results)))
    return results


def reported(frames: Sequence[Frame], function: Callable[[Any], Any]) -> list[Frame]:
    """What a worker reports of these chunks, whose orders name the task as the function is named."""
    sent: list[Frame] = []
    recorder: Any = Silent()
    specs = {function.__name__: TaskSpec.of(function)}
    runner = Runner(specs, fresh_marks(), recorder, ChildLimits(), lambda *them: sent.extend(them))
    for frame in frames:
        runner.run(frame)
    return sent


def _parts(pieces: Sequence[bytes]) -> list[Frame]:
    return [Frame(Kind.PART, piece) for piece in pieces]


if __name__ == "__main__":
    print(conditions("bench.profile_large", ()), *profile().lines(), sep="\n")
