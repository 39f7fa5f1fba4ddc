"""When a worker sends what it has."""

import faulthandler
import mmap
import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from tests.unit.lone_worker import chunk_of
from workers import task
from workers.blackbox import Recorder
from workers.chunk import SLOW_SECONDS, Runner
from workers.interrupt import SIGNAL
from workers.limits import ChildLimits
from workers.task import TaskSpec
from workers.wire import SLOT_BYTES, Frame, FrameReader, Kind, Marks


@task
def rest(seconds: float) -> None:
    """Take this long."""
    time.sleep(seconds)


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
def runner(sent: list[list[Kind]]) -> Iterator[Runner]:
    before, hook = signal.getsignal(SIGNAL), sys.unraisablehook
    recorder, marks = Mute(), Marks(mmap.mmap(-1, SLOT_BYTES), 0)
    marks.clear()

    def send(*frames: Frame) -> None:
        sent.append([frame.kind for frame in frames])

    yield Runner({"rest": TaskSpec.of(rest)}, marks, recorder, ChildLimits(), send)
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
