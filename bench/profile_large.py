"""Where the time of a thousand items of 100 KB goes, stage by stage, as `bench.profile` tells of a million squares."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from app.domain.digest import is_telling
from app.domain.item import Block, Segment, files_named, strips
from app.stores.sqlite import SqliteStore
from bench.conditions import conditions
from bench.payloads import texts_of
from bench.profile import BODY_BYTES, Table, a_job, cut, frames_of, through_a_socket
from workers.wire import Frame, Kind

ITEMS = 1_000


def profile() -> Table:
    """Every stage, in the order of a job's way."""
    table = Table()
    body = b"".join(b"%b\n" % msgspec.json.encode(text) for text in texts_of(ITEMS))
    pieces = [body[at : at + BODY_BYTES] for at in range(0, len(body), BODY_BYTES)]
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
            asyncio.run(_through(table, store, blocks))
        finally:
            store.close()
    return table


async def _through(table: Table, store: SqliteStore, blocks: Sequence[Block]) -> None:
    job = a_job(ITEMS)
    began = time.process_time()
    await store.create_job(job, blocks)
    table.add("writer", "store: items in blocks", time.process_time() - began)
    began = time.process_time()
    for block in blocks:
        await store.read_block(job.id, block.first)
    table.add("reader", "store: blocks read again", time.process_time() - began)
    frames = frames_of(blocks)
    table.measure("both", "send to a worker, and read there", lambda: through_a_socket(frames))
    lines = [frame.body.split(b"\n")[:-1] for frame in frames]
    texts = table.measure(
        "worker", "decode", lambda: [list(map(msgspec.json.decode, some)) for some in lines]
    )
    outputs = table.measure(
        "worker", "encode", lambda: [list(map(msgspec.json.encode, some)) for some in texts]
    )
    results = table.measure("worker", "lines, and parts of them", lambda: _results(outputs))
    table.measure("both", "send to the loop, and read there", lambda: through_a_socket(_parts(results)))
    segments = [
        Segment(job.id, block.first, block.count, 0, block.first, 0, part)
        for block, part in zip(blocks, results, strict=True)
    ]
    table.measure("loop", "digest: is anything to be told", lambda: list(map(is_telling, segments)))
    began = time.process_time()
    for segment in segments:
        await store.append_results([segment], [job], {})
    table.add("writer", "store: append results", time.process_time() - began)
    table.measure("both", "send to a client, and read there", lambda: through_a_socket(_parts(results)))


def _parts(pieces: Sequence[bytes]) -> list[Frame]:
    return [Frame(Kind.PART, piece) for piece in pieces]


def _results(outputs: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [b"".join(b'{"index":0,"output":%b}\n' % output for output in some) for some in outputs]


if __name__ == "__main__":
    print(conditions("bench.profile_large", ()), *profile().lines(), sep="\n")
