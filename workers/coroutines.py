"""Items of `async def` tasks, many at a time in one worker.

How it works: while there are any, the worker's loop is an event loop that also watches the socket for more.  Each
item is a task of its own, and is marked whenever its coroutine, or one that it started, takes a step; so if a
step kills the process, blocks or prints, it is known whose it was.

Invariant: as with other tasks, every item ends in exactly one report, and no exception gets past it.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from workers.chunk import Execution, Runner
from workers.context import HERE, Here
from workers.interrupt import Why
from workers.wire import Frame, FrameReader, Kind

_READ_BYTES = 64 << 10


@dataclass(eq=False)
class Item:
    """An item on its way."""

    mark: int
    printed: list[str] = field(default_factory=list)
    limit_seconds: float | None = None
    task: asyncio.Task[None] | None = None
    begun: bool = False
    """Whether its task has taken its first step; one that is cancelled before would not even report."""
    why: Why | None = None
    """Why it was asked to end."""


class Steps(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are an item's, and so interrupted with it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], item: Item, runner: Runner) -> None:
        self._coroutine = coroutine
        self._item = item
        self._runner = runner
        self.replacement: BaseException | None = None
        """What to raise in the coroutine instead of the cancellation that comes next."""

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        del traceback
        error = value if isinstance(value, BaseException) else kind
        error, self.replacement = self.replacement or error, None
        return self._step(self._coroutine.throw, error)

    def _step(self, take: Callable[[Any], Any], value: Any) -> Any:
        """Take a step, as the item's.

        An interruption may come just before the coroutine has control, or when it has just given it back.  So what
        follows a step follows in any case, or the next item would take the interruption for its own; and the
        coroutine is told then, to clean up.
        """
        runner, item = self._runner, self._item
        try:
            try:
                runner.enter(item.mark)
                if item.why is None:
                    runner.open(item.limit_seconds)
                return take(value)
            finally:
                runner.shut()
        except BaseException as error:
            if not self._waits:
                raise
            interruption = error
        finally:
            hit, text = runner.leave()
            item.why = item.why or hit
            if text:
                item.printed.append(text)
        return self._step(self._coroutine.throw, interruption)

    @property
    def _waits(self) -> bool:
        """Whether the coroutine has not ended, so that what was raised beside it can be raised in it."""
        return getattr(self._coroutine, "cr_frame", None) is not None

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # an iterator with `send` and `throw` is all that is asked for

    def __iter__(self) -> "Steps":
        return self

    def __next__(self) -> Any:
        return self.send(None)


class ChildSteps(Steps):
    """Those of a task that an item started: what ends a process ends only the item."""

    def send(self, value: Any) -> Any:
        with _contained():
            return super().send(value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        with _contained():
            return super().throw(kind, value, traceback)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """asyncio would end its loop, and so the worker, for these, with no item marked."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__} in a task that the item started") from error


_ITEM: ContextVar[Item] = ContextVar("item")
"""Whose code runs; tasks that an item starts inherit it."""


class SideBySide:
    """Runs chunks of one item each, until there are none."""

    def __init__(self, connection: socket.socket, runner: Runner) -> None:
        self._connection = connection
        self._runner = runner
        self._reader = FrameReader()
        self._items: dict[int, Item] = {}
        self._last: Frame | None = None
        self._hung_up = False

    def run(self, first: Frame) -> Frame | None:
        """Run the chunk and those that come meanwhile; the frame to go on with, if one of another kind came.

        EOFError if the pool has hung up.
        """
        asyncio.run(self._run(first))
        if self._hung_up:
            raise EOFError
        return self._last

    async def _run(self, first: Frame) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._new_task)
        self._idle = asyncio.Event()
        self._start(first)
        loop.add_reader(self._connection, self._on_readable)
        try:
            # Once woken, look again: what had come by then has started meanwhile.
            while (self._items or self._reader.pending) and not self._hung_up:
                self._idle.clear()
                await self._idle.wait()
        finally:
            loop.remove_reader(self._connection)

    def _on_readable(self) -> None:
        data = self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        if not data:
            self._hung_up = True
            self._idle.set()
            return
        for frame in self._reader.feed(data):
            if frame.kind is Kind.CANCEL:
                if (item := self._items.get(frame.chunk_id)) and item.task and item.why is None:
                    item.why = Why.CANCELLED
                    if item.begun:
                        item.task.cancel()
            elif frame.kind is Kind.CHUNK and self._runner.side_by_side(frame):
                self._start(frame)
            else:
                self._last = frame  # the pool sends such a frame only after all others have ended
        self._rest()

    def _rest(self) -> None:
        """Leave the loop once nothing runs; not within a frame, whose rest nobody else could read."""
        if not self._items and not self._reader.pending:
            self._idle.set()

    def _start(self, frame: Frame) -> None:
        execution = self._runner.begin(frame)
        item = self._items[frame.chunk_id] = Item(
            (frame.chunk_id << 32) + 1, limit_seconds=execution.order.timeout_seconds
        )
        item.task = asyncio.create_task(self._item(frame.chunk_id, item, execution))

    async def _item(self, chunk_id: int, item: Item, execution: Execution) -> None:
        HERE.set(Here(execution.report, execution.frame.first))
        _ITEM.set(item)
        item.begun = True
        started = time.perf_counter()
        error: BaseException | None = None
        output = b""
        try:
            if item.why is None:
                output = await self._awaited(item, execution)
        except BaseException as raised:
            error = raised
        seconds = time.perf_counter() - started
        log = "".join(item.printed)
        if item.why is not Why.CANCELLED:
            execution.finish(output, error, item.why, log, seconds)
        execution.done()
        del self._items[chunk_id]
        self._rest()

    async def _awaited(self, item: Item, execution: Execution) -> bytes:
        """The task's output; `TimeoutError` is raised in it when its time is up."""
        limit = item.limit_seconds

        async def whole() -> bytes:  # what it takes to validate and to encode is the item's doing as well
            return execution.encode(await execution.coroutine())

        steps = Steps(whole(), item, self._runner)
        if limit is None:
            return await steps  # type: ignore[no-any-return]

        def expire() -> None:
            if item.why is not None or timer.cancelled():
                return  # it was interrupted in a step, and is cleaning up; or it has ended
            item.why = Why.TIMEOUT
            steps.replacement = TimeoutError(f"took longer than {limit:g} s")
            assert item.task is not None
            item.task.cancel()

        # After what is ready: if another's step held up the loop, the item may have been done long ago.
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit, loop.call_soon, expire)
        try:
            return await steps  # type: ignore[no-any-return]
        finally:
            timer.cancel()

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """A task, whose steps are its item's if one started it."""
        item = _ITEM.get(None)
        if item is not None and isinstance(coroutine, Coroutine):
            coroutine = ChildSteps(coroutine, item, self._runner)
        return asyncio.Task(coroutine, loop=loop, **options)
