"""A store with large payloads, and ways to lose them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.domain.item import Block, View
from app.domain.job import Counts
from app.domain.store import Query
from app.stores.payloads import INLINE_BYTES_MAX, Durability
from app.stores.sqlite import SqliteStore
from tests.builders import Log, a_job
from tests.contract.conftest import Run

LARGE = INLINE_BYTES_MAX + 1


@contextmanager
def opened(directory: Path, durability: Durability = "process") -> Iterator[SqliteStore]:
    directory.mkdir(exist_ok=True)
    store = SqliteStore(directory / "millpond.sqlite", durability)
    store.open()
    try:
        yield store
    finally:
        store.close()


def a_large_block(first: int = 0, size: int = LARGE) -> Block:
    """Of one item."""
    return Block(first, 1, b"1" * (size - 1) + b"\n")


async def submit(store: SqliteStore, job_id: str, *blocks: Block) -> None:
    await store.create_job(a_job(job_id, total=blocks[-1].stop), blocks)


async def append(store: SqliteStore, log: Log, first: int, size: int = LARGE) -> None:
    segment = log.segment(first, [False], [size])
    await store.append_results([segment], [a_job(log.job_id, counts=Counts(3, **log.counts))], {})


def files(directory: Path) -> dict[str, int]:
    """Their sizes."""
    place = directory / "payloads"
    return {path.name: path.stat().st_size for path in place.iterdir()} if place.exists() else {}


def the_file(directory: Path) -> Path:
    (path,) = (directory / "payloads").iterdir()
    return path


def ids(run: Run, store: SqliteStore) -> set[str]:
    return {job.id for job in run(store.list_jobs(Query(99)))}


def everything(run: Run, store: SqliteStore, job_id: str) -> bytes:
    page = run(store.read_results(job_id, View(), 0, lines_max=99, bytes_max=1 << 30, settled=True))
    return page.lines


def sweep(run: Run, store: SqliteStore) -> None:
    while run(store.sweep(1 << 20)):
        pass


def lose_the_end(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def lose_a_page(file: Path) -> None:
    with file.open("r+b") as writing:
        writing.seek(file.stat().st_size - LARGE // 2)
        writing.write(bytes(4096))


def lose_the_file(file: Path) -> None:
    file.unlink()


LOSSES = [lose_the_end, lose_a_page, lose_the_file]
