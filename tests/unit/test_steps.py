"""A step of a coroutine, interrupted at every single instruction around it."""

import faulthandler
import mmap
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from types import FrameType, coroutine
from typing import Any

import pytest

from app.domain.engine import Chunk
from workers import chunk, coroutines
from workers.blackbox import Recorder
from workers.chunk import Runner
from workers.coroutines import Item, Steps
from workers.interrupt import SIGNAL, ItemCancelled, Why
from workers.limits import ChildLimits
from workers.slot import Action, Slot
from workers.wire import SLOT_BYTES, Marks

MARK, NEXT_MARK = (1 << 32) + 1, (2 << 32) + 1
WATCHED = {coroutines.__file__, chunk.__file__}
INSTRUCTIONS_MIN = 100
"""Fewer would mean that they are not seen."""


class Mute(Recorder):
    """Records nothing, and leaves this process its stdout."""

    def __init__(self) -> None:
        self.stack_fd = os.memfd_create("stack")

    def take(self) -> str:
        return ""


@pytest.fixture
def marks() -> Marks:
    return Marks(mmap.mmap(-1, SLOT_BYTES), 0)


@pytest.fixture
def runner(marks: Marks) -> Iterator[Runner]:
    before, hook = signal.getsignal(SIGNAL), sys.unraisablehook
    recorder = Mute()
    yield Runner({}, marks, recorder, ChildLimits(), lambda frame: None)
    faulthandler.unregister(SIGNAL)
    signal.signal(SIGNAL, before)
    sys.unraisablehook = hook
    os.close(recorder.stack_fd)


@coroutine
def pause() -> Iterator[None]:
    yield


def stepped(steps: Coroutine[Any, Any, Any], marks: Marks, number: int) -> tuple[int, BaseException | None]:
    """Take a step and interrupt it at the instruction with this number; how many there were, and what it raised."""
    seen = 0

    def look(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in WATCHED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == number:
                marks.meant.value, marks.why.value = MARK, Why.CANCELLED
                signal.raise_signal(SIGNAL)
        return look

    raised = None
    sys.settrace(look)
    try:
        steps.send(None)
    except BaseException as error:
        raised = error
    finally:
        sys.settrace(None)
    return seen, raised


def test_an_interruption_at_any_instruction_is_that_of_its_item(runner: Runner, marks: Marks) -> None:
    """It is told and ends, or it was not hit at all; either way nothing is left of it for the item that is next."""
    number = hits = 0
    while True:
        number += 1
        told: list[BaseException] = []

        async def task(told: list[BaseException] = told) -> None:
            try:
                await pause()
            except BaseException as error:
                told.append(error)
                raise

        item, following = Item(MARK), Item(NEXT_MARK)
        seen, raised = stepped(Steps(task(), item, runner), marks, number)
        if seen < number:
            break
        hits += item.why is not None
        assert item.why is (Why.CANCELLED if raised else None)
        assert type(raised) in (ItemCancelled, type(None))
        assert marks.mark.value == 0

        other = Steps(quick(), following, runner)
        with pytest.raises(StopIteration):
            other.send(None)
        assert following.why is None, f"after an interruption at instruction {number}"
    assert number > INSTRUCTIONS_MIN
    assert hits > 0


async def quick() -> None:
    """Ends with its first step."""


def test_one_that_waits_is_told_of_an_interruption_beside_it(runner: Runner, marks: Marks) -> None:
    """It had just given back control; so that it can clean up."""
    number, told = 0, 0
    while True:
        number += 1
        heard: list[BaseException] = []

        async def task(heard: list[BaseException] = heard) -> None:
            try:
                await pause()
            except ItemCancelled as error:
                heard.append(error)
                raise

        entered = Steps(task(), Item(MARK), runner)
        seen, raised = stepped(entered, marks, number)
        if seen < number:
            break
        told += bool(heard)
        assert not heard or heard == [raised]
        if raised is None:
            entered.close()
    assert told > 0


def test_an_interruption_that_python_drops_has_hit_nobody(runner: Runner, marks: Marks) -> None:
    """It came while garbage was collected: the item can still be told otherwise."""

    class Garbage:
        def __del__(self) -> None:
            marks.meant.value, marks.why.value = MARK, Why.CANCELLED
            signal.raise_signal(SIGNAL)

    async def task() -> None:
        Garbage()
        await pause()

    item = Item(MARK)
    steps = Steps(task(), item, runner)
    steps.send(None)

    assert marks.heard.value == MARK
    assert item.why is None
    with pytest.raises(KeyError):
        steps.throw(KeyError())


def test_one_look_at_a_mark_is_all_that_is_acted_upon() -> None:
    """The worker writes it at any time: what was at rest when the pool looked is not asked to end."""

    class Moving:
        """At rest when looked at first, then an item."""

        def __init__(self) -> None:
            self.looks = 0

        @property
        def value(self) -> int:
            self.looks += 1
            return 0 if self.looks == 1 else MARK

    marks: Any = Marks(mmap.mmap(-1, SLOT_BYTES), 0)
    nobody: Any = None
    slot = Slot(0, marks, nobody, now=0.0)
    slot.give(Chunk(1, "nap", b"{}", 0, 1, b"60\n", concurrency=10), 0.0)
    slot.cancel(1, 0.0)
    marks.mark = Moving()

    assert slot.watch(0.0) is None
    assert slot.watch(0.0) is Action.INTERRUPT
    assert marks.meant.value == MARK
