"""Whether items are what their task takes, found out before any of them runs.

How it works: workers are asked, since only they know the task's types.  They get the items as chunks that are only to
be checked, with ids below 0; reports on those come here, all others go to the dispatcher.  Checks and items take
turns, so that neither keeps the other waiting.

Invariant: an item is refused here if, and only if, it would fail as `invalid_input` when it runs.
Invariant: a check holds at most `PARTS_MAX` parts of what is sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.domain.engine import Chunk, Engine, Listener
from app.domain.errors import FAULTS_MAX, Fault, Invalid, Unavailable
from app.domain.item import Block, cut

PART_ITEMS_MAX = 4096
"""What a worker checks in some milliseconds."""
PARTS_MAX = 4
"""That one submission has with workers, or waiting for one."""
LOSSES_MAX = 5
"""Workers that one part may lose through no fault of an item."""
WORKER_SECONDS_MAX = 30.0
"""How long a part may wait for a worker, and for its answer."""
ITEM_SECONDS_MAX = 10.0
"""How long one item may take; what takes longer is not refused for that, but will show when it runs."""
DETAIL_CHARS_MAX = 200

Place = Callable[[int, str], Fault]
"""Makes of an item's index, and of what is wrong with it, a fault that says where it stands in the request."""
_REFUSED = b',"error":{"kind":"invalid_input",'


@dataclass(frozen=True, slots=True)
class _End:
    """The worker is through with a chunk, or gone: items from `first` on are not checked."""

    first: int
    lost: bool = False
    culprit: int | None = None


@dataclass(eq=False, slots=True)
class _Asked:
    """A chunk to be checked."""

    chunk: Chunk
    pool: str
    end: asyncio.Future[_End]
    sent: bool = False
    refused: int = 0
    first_refused: list[tuple[int, str]] = field(default_factory=list)


class Checking:
    """Has workers check items; listens to the engine in front of those who run them."""

    def __init__(self, engine: Engine, others: Listener, make_room: Callable[[str], None]) -> None:
        """`make_room` is called when a check finds none in a pool."""
        self._engine = engine
        self._others = others
        self._make_room = make_room
        self._waiting: deque[_Asked] = deque()
        self._asked: dict[int, _Asked] = {}
        """What is with a worker."""
        self._last_id = 0
        self._first = True
        """Whether it is the turn of a check, and not of the others."""

    def examination(self, task: Mapping[str, Any], params: Mapping[str, Any]) -> "Examination":
        """Of the items of one submission."""
        return Examination(self, task, msgspec.json.encode(params))

    async def ask(self, task: Mapping[str, Any], params: bytes, block: Block, *, light: bool) -> "_Asked":
        """What a worker says to these.  Unavailable if none has time for it."""
        self._last_id -= 1
        chunk = Chunk(
            id=self._last_id,
            task=task["name"],
            params=params,
            first=block.first,
            count=block.count,
            lines=block.lines,
            timeout_seconds=ITEM_SECONDS_MAX,
            short=True,
            light=light,
            check=True,
        )
        asked = _Asked(chunk, pool_of(self._engine, task), asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._send()
        try:
            async with asyncio.timeout(WORKER_SECONDS_MAX):
                await asked.end
        except TimeoutError:
            raise _no_worker() from None
        finally:
            self._forget(asked)
        return asked

    def _forget(self, asked: _Asked) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
        if self._asked.pop(asked.chunk.id, None):  # whoever asked has gone
            self._engine.cancel(asked.chunk.id)

    def _send(self) -> None:
        """Give workers what they have room for."""
        for asked in list(self._waiting):
            if self._engine.room(asked.pool, concurrency=1, alone=False) != "none":
                self._waiting.remove(asked)
                self._asked[asked.chunk.id] = asked
                self._engine.run(asked.chunk, asked.pool)
            else:
                self._make_room(asked.pool)

    # -- What the engine reports

    def room(self) -> None:
        if not self._waiting:
            self._others.room()
            return
        turns = (self._send, self._others.room)
        for serve in turns if self._first else reversed(turns):
            serve()
        self._first = not self._first

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        if chunk_id > 0:
            self._others.part(chunk_id, first, count, failed, lines, files)
        elif failed and (asked := self._asked.get(chunk_id)):
            for line in lines.splitlines():
                if line.find(_REFUSED, 0, 64) > 0:
                    asked.refused += 1
                    if asked.refused <= FAULTS_MAX:
                        told = msgspec.json.decode(line)
                        asked.first_refused.append((told["index"], told["error"]["message"]))

    def unlucky(self, chunk_id: int, place: int, error: Mapping[str, Any]) -> None:
        if chunk_id > 0:
            self._others.unlucky(chunk_id, place, error)

    def printed(self, chunk_id: int, place: int, text: str) -> None:
        if chunk_id > 0:
            self._others.printed(chunk_id, place, text)

    def progress(self, chunk_id: int, place: int, share: float, message: str) -> None:
        if chunk_id > 0:
            self._others.progress(chunk_id, place, share, message)

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        if chunk_id > 0:
            self._others.ended(chunk_id, stop, seconds)
        else:
            self._end(chunk_id, _End(stop))

    def recalled(self, chunk_id: int, stop: int) -> None:
        if chunk_id > 0:  # of a check, its end will say the same
            self._others.recalled(chunk_id, stop)

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        if chunk_id > 0:
            self._others.lost(chunk_id, first, culprit, error)
        else:
            self._end(chunk_id, _End(first, True, culprit))

    def _end(self, chunk_id: int, end: _End) -> None:
        asked = self._asked.pop(chunk_id, None)
        if asked and not asked.end.done():
            asked.end.set_result(end)


class Examination:
    """Checks the items of one submission, a few parts of them at a time."""

    def __init__(self, checking: Checking, task: Mapping[str, Any], params: bytes) -> None:
        self._checking = checking
        self._task = task
        self._params = params
        self._under_way: set[asyncio.Task[None]] = set()
        self._refused = 0
        self._faults: list[tuple[int, Fault]] = []
        """The first ones, by index."""

    async def __aenter__(self) -> "Examination":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def add(self, blocks: Sequence[Block], place: Place) -> None:
        """The next items.  Returns once few enough wait; Unavailable if no worker has time for them."""
        for block in blocks:
            start = 0
            for first in range(block.first, block.stop, PART_ITEMS_MAX):
                while len(self._under_way) >= PARTS_MAX:
                    await self._progress()
                end = cut(block.lines, start, PART_ITEMS_MAX)
                part = Block(first, min(PART_ITEMS_MAX, block.stop - first), block.lines[start:end])
                start = end
                self._under_way.add(asyncio.ensure_future(self._check(part, place)))

    async def finish(self) -> None:
        """All are there.  Invalid if any is not what the task takes, naming the first of them."""
        while self._under_way:
            await self._progress()
        if self._refused:
            which = "One item is" if self._refused == 1 else f"{self._refused} items are"
            detail = f"{which} not what task {self._task['name']!r} takes; nothing was started."
            raise Invalid(detail, [fault for _, fault in self._faults], self._refused)

    async def _progress(self) -> None:
        done, _ = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            self._under_way.remove(task)
            task.result()  # if that raises, those that failed with it are left to who cancels them

    async def _check(self, part: Block, place: Place) -> None:
        """Check these, with as many workers as that takes."""
        todo, losses, light = [(part.first, part.stop)], 0, True
        while todo:
            first, stop = todo.pop()
            if first >= stop:
                continue
            start = cut(part.lines, 0, first - part.first) if first > part.first else 0
            lines = part.lines[start : cut(part.lines, start, stop - first)]
            block = Block(first, stop - first, lines)
            asked = await self._checking.ask(self._task, self._params, block, light=light)
            self._refuse(asked, place)
            end = asked.end.result()
            if end.culprit is None:
                todo.append((end.first, stop))
                light = light and not end.lost  # of those that share a mark nobody knows which it was
            else:
                todo += [(end.culprit + 1, stop), (end.first, end.culprit)]
            losses += end.lost and end.culprit is None
            if losses > LOSSES_MAX:
                raise _no_worker()

    def _refuse(self, asked: _Asked, place: Place) -> None:
        self._refused += asked.refused
        new = [(index, place(index, detail[:DETAIL_CHARS_MAX])) for index, detail in asked.first_refused]
        self._faults = sorted([*self._faults, *new], key=lambda fault: fault[0])[:FAULTS_MAX]


def pool_of(engine: Engine, task: Mapping[str, Any] | None) -> str:
    """The pool that the task's items run in: its own, if that has workers."""
    pools = engine.pools()
    return task["pool"] if task and task["pool"] in pools and engine.size(task["pool"]) else pools[0]


def _no_worker() -> Unavailable:
    return Unavailable("No worker had time to check the items; nothing was started.", retry_after_seconds=10)
