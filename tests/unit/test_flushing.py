"""When a worker sends what it has."""

import faulthandler
import mmap
import os
import signal
import sys
from collections.abc import Iterator
from typing import cast

import pytest

from app.domain.engine import Chunk, Listener
from tests.unit.lone_worker import chunk_of
from workers import task
from workers.blackbox import Recorder
from workers.chunk import SLOW_SECONDS, Runner
from workers.interrupt import SIGNAL
from workers.limits import ChildLimits
from workers.slot import Slot
from workers.task import TaskSpec
from workers.wire import SLOT_BYTES, Frame, FrameReader, Kind, Marks


@task
def rest(seconds: float) -> None:
    """Take this long."""
    Clock.now += seconds


class Clock:
    """Time passes while an item rests, and never else."""

    now = 0.0

    @classmethod
    def read(cls) -> float:
        return cls.now


class Mute(Recorder):
    """Records nothing, and leaves this process its stdout."""

    def __init__(self) -> None:
        self.stack_fd = os.memfd_create("stack")

    def printed(self) -> bool:
        return False


@pytest.fixture
def sent() -> list[list[Kind]]:
    """What was sent together."""
    return []


@pytest.fixture
def took() -> list[float]:
    """How long the worker said that chunks took."""
    return []


@pytest.fixture
def runner(sent: list[list[Kind]], took: list[float]) -> Iterator[Runner]:
    before, hook = signal.getsignal(SIGNAL), sys.unraisablehook
    recorder, marks = Mute(), Marks(mmap.mmap(-1, SLOT_BYTES), 0)
    marks.clear()

    def send(*frames: Frame) -> None:
        sent.append([frame.kind for frame in frames])
        took.extend(frame.took_seconds for frame in frames if frame.kind is Kind.DONE)

    yield Runner({"rest": TaskSpec.of(rest)}, marks, recorder, ChildLimits(), send, Clock.read)
    faulthandler.unregister(SIGNAL)
    signal.signal(SIGNAL, before)
    sys.unraisablehook = hook
    os.close(recorder.stack_fd)


def test_a_chunks_last_results_are_sent_with_its_end(runner: Runner, sent: list[list[Kind]]) -> None:
    """So the pool is woken once; also where the result of an item waits for no other's."""
    slow = b"%g" % (SLOW_SECONDS * 1.1)
    (frame,) = FrameReader().feed(chunk_of("rest", [slow, slow], light=False))

    runner.run(frame)

    assert sent == [[Kind.PART], [Kind.PART, Kind.DONE]]


def test_the_end_of_a_chunk_says_how_long_that_took(runner: Runner, took: list[float]) -> None:
    """From its first item to its last: so it is known what tiny items cost."""
    (frame,) = FrameReader().feed(chunk_of("rest", [b"0.25", b"0.5"], light=False))
    Clock.now += 1.0

    runner.run(frame)

    assert took == [0.75]


@pytest.mark.parametrize(("long", "parts"), [(False, 4), (True, 1)])
def test_results_of_long_chunks_are_sent_less_often(
    runner: Runner, sent: list[list[Kind]], long: bool, parts: int
) -> None:
    """Nobody else wants the worker then, and each time costs what the items could have: 50 ms, or 200."""
    marks = Marks(mmap.mmap(-1, SLOT_BYTES), 0)
    slot = Slot(0, marks, cast("Listener", None), now=0.0)
    chunk = Chunk(1, "rest", b"{}", 0, 20, b"0.0125\n" * 20, long=long)

    runner.run(slot.give(chunk, now=0.0))

    assert sent == [[Kind.PART]] * parts + [[Kind.PART, Kind.DONE]]
