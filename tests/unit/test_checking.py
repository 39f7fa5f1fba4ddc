"""Items are checked by workers that come and go, and each verdict is that of a worker."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any, cast

import pytest

from app.domain.engine import Chunk, Engine, Listener
from app.domain.errors import Fault, Invalid, Unavailable
from app.domain.item import Block
from app.service.checking import LOSSES_MAX, PART_ITEMS_MAX, PARTS_MAX, Checking
from tests.builders import a_block

TASK = {"name": "sqrt", "pool": "cpu"}
Worker = Callable[[Checking, Chunk], None]


class OneWorker:
    """An engine that does with each chunk what the next of these functions says."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = list(workers)
        self.chunks: list[Chunk] = []
        self.cancelled: list[int] = []
        self.crowded: list[str] = []
        self.checking = Checking(cast("Engine", self), cast("Listener", None), self.crowded.append)

    def pools(self) -> list[str]:
        return ["cpu"]

    def size(self, pool: str) -> int:
        return 1

    def room(self, pool: str, *, concurrency: int, alone: bool) -> str:
        return "idle"

    def cancel(self, chunk_id: int) -> bool:
        self.cancelled.append(chunk_id)
        return True

    def run(self, chunk: Chunk, pool: str) -> None:
        self.chunks.append(chunk)
        worker = self._workers.pop(0) if len(self._workers) > 1 else self._workers[0]
        asyncio.get_running_loop().call_soon(worker, self.checking, chunk)


def refuses(*indexes: int) -> Worker:
    """A worker to which these are no input."""

    def work(checking: Checking, chunk: Chunk) -> None:
        lines = b"".join(
            b'{"index":%d,"error":{"kind":"invalid_input","message":"no"}}\n' % index
            if index in indexes
            else b'{"index":%d,"output":null}\n' % index
            for index in range(chunk.first, chunk.first + chunk.count)
        )
        checking.part(chunk.id, chunk.first, chunk.count, len(indexes), lines, ())
        checking.ended(chunk.id, chunk.first + chunk.count, 0.001)

    return work


def dies(culprit: int | None = None) -> Worker:
    """A worker that dies before it has said anything, of that item or of nobody's."""
    return lambda checking, chunk: checking.lost(chunk.id, chunk.first, culprit, {"kind": "crashed"})


def stops_at(index: int) -> Worker:
    """A worker that has done enough once it comes to this item."""
    return lambda checking, chunk: checking.ended(chunk.id, index, 0.001)


def examined(engine: OneWorker, *blocks: Block) -> list[int]:
    """The items that were refused."""

    async def examine() -> None:
        async with engine.checking.examination(TASK, {}) as examination:
            await examination.add(blocks, lambda index, detail: Fault(detail, line=index))
            await examination.finish()

    try:
        asyncio.run(examine())
    except Invalid as refused:
        return [fault.line for fault in refused.faults if fault.line is not None]
    return []


def spans(engine: OneWorker) -> list[tuple[int, int, bool]]:
    return [(chunk.first, chunk.count, chunk.light) for chunk in engine.chunks]


def test_what_a_worker_refuses_is_refused() -> None:
    """In the order of the items."""
    assert examined(OneWorker(refuses(5, 2)), a_block(0, 8)) == [2, 5]


def test_a_worker_that_is_lost_is_asked_again() -> None:
    """Another one, and item by item, since it is not known which was to blame."""
    engine = OneWorker(dies(), refuses(1))

    assert examined(engine, a_block(0, 4)) == [1]
    assert spans(engine) == [(0, 4, True), (0, 4, False)]


def test_an_item_that_ends_its_worker_is_not_refused() -> None:
    """It will fail when it runs, but not as `invalid_input`; those around it are checked."""
    engine = OneWorker(dies(culprit=2), refuses())

    assert examined(engine, a_block(0, 4)) == []
    assert sorted(spans(engine)[1:]) == [(0, 2, True), (3, 1, True)]


def test_what_a_worker_leaves_is_checked_by_the_next() -> None:
    """A worker may be replaced between two items."""
    engine = OneWorker(stops_at(3), refuses(3))

    assert examined(engine, a_block(0, 4)) == [3]
    assert spans(engine) == [(0, 4, True), (3, 1, True)]
    assert engine.chunks[1].lines == b'{"x":3}\n'


def test_workers_that_are_lost_again_and_again_end_the_check() -> None:
    """It is not known then whether the items are valid."""
    engine = OneWorker(dies())

    with pytest.raises(Unavailable):
        examined(engine, a_block(0, 4))

    assert len(engine.chunks) == LOSSES_MAX + 1


def test_parts_that_cannot_be_checked_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """To who sent them, and not to the log as well, however many had come to nothing by then."""
    with pytest.raises(Unavailable):
        examined(OneWorker(dies()), a_block(0, PARTS_MAX * PART_ITEMS_MAX))
    gc.collect()

    assert caplog.messages == []


def test_who_goes_away_takes_what_is_checked_along() -> None:
    """It is cancelled, and what is told of it later is nobody's."""
    given = asyncio.Event()
    engine = OneWorker(lambda *_: given.set())

    async def leave() -> None:
        async with engine.checking.examination(TASK, {}) as examination:
            await examination.add([a_block(0, 4)], lambda index, detail: Fault(detail, line=index))
            await given.wait()
        refuses(1)(engine.checking, engine.chunks[0])

    asyncio.run(leave())

    assert engine.cancelled == [chunk.id for chunk in engine.chunks]


def test_checks_and_items_take_turns() -> None:
    """Whoever was first last time comes second."""
    turns: list[str] = []

    class Others:
        def room(self) -> None:
            turns.append("items")

    class Full(OneWorker):
        def room(self, *_: Any, **__: Any) -> str:
            turns.append("check")
            return "none"

    engine = Full(refuses())
    engine.checking = Checking(cast("Engine", engine), cast("Listener", Others()), engine.crowded.append)

    async def wait_twice() -> None:
        asking = asyncio.ensure_future(engine.checking.ask(TASK, b"{}", a_block(), light=True))
        await asyncio.sleep(0)
        turns.clear()
        engine.checking.room()
        engine.checking.room()
        asking.cancel()

    asyncio.run(wait_twice())

    assert turns == ["check", "items", "items", "check"]
    assert engine.crowded == ["cpu"] * 3
