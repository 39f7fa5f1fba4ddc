"""What a worker wrote is read whole, however it fills the buffers it is read into."""

import asyncio
import math
import mmap
import socket
from typing import cast

import pytest

from workers.blackbox import BlackBox
from workers.contract import Listener
from workers.slot import Slot
from workers.wire import HEADER, SLOT_BYTES, Frame, Kind, Marks
from workers.worker import FRAMES_AT_ONCE, READ_BYTES, SMALL_BYTES, Worker, connection_pair

SIZES = [0, 1, SMALL_BYTES - HEADER.size - 1, SMALL_BYTES - HEADER.size, SMALL_BYTES, READ_BYTES]


def frame_of(size: int) -> Frame:
    return Frame(Kind.PART, bytes(range(256)) * (size // 256) + bytes(size % 256), 1, 0, 1)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_read_in_one_small_helping_and_large_ones(size: int) -> None:
    """And there is nothing after it until the stream ends."""

    async def story() -> None:
        worker, theirs = connected()
        sent = frame_of(size)
        with theirs:
            theirs.sendmsg(sent.buffers())
            helpings = 1 + math.ceil(max(0, HEADER.size + size - SMALL_BYTES) / READ_BYTES)
            got = [frame.body for _ in range(helpings) for frame in worker.receive()]
            assert got == [sent.body]
            assert list(worker.receive()) == []
        with pytest.raises(EOFError):
            list(worker.receive())
        worker.close()

    asyncio.run(story())


def test_what_was_sent_before_the_end_is_read_before_it() -> None:
    """Also where the end is found while there is room for more."""

    async def story() -> None:
        worker, theirs = connected()
        sent = frame_of(SMALL_BYTES - HEADER.size)
        theirs.sendmsg(sent.buffers())
        theirs.close()
        assert [frame.body for frame in worker.receive()] == [sent.body]
        with pytest.raises(EOFError):
            list(worker.receive())
        worker.close()

    asyncio.run(story())


def test_many_small_frames_are_received_some_at_a_time() -> None:
    """In their order, though they were read together; who listens is called again for the rest."""
    words = [b"%d" % number for number in range(2 * FRAMES_AT_ONCE + 5)]

    async def story() -> None:
        worker, theirs = connected()
        for word in words:
            theirs.sendmsg(Frame(Kind.LOG, word, 1, 0).buffers())
        theirs.close()
        helpings: list[list[bytes]] = []
        ended = asyncio.Event()

        def receive(worker: Worker) -> None:
            try:
                helpings.append([bytes(frame.body) for frame in worker.receive()])
                assert worker.readable()
            except EOFError:
                ended.set()

        worker.listen(receive)
        await ended.wait()
        worker.close()
        assert [word for helping in helpings for word in helping] == words
        assert max(map(len, helpings)) == FRAMES_AT_ONCE

    asyncio.run(story())


def connected() -> tuple[Worker, socket.socket]:
    """A worker as the pool holds it, and the other end of its connection."""
    ours, theirs = connection_pair()
    slot = Slot(0, Marks(mmap.mmap(-1, SLOT_BYTES), 0), cast("Listener", None), now=0.0)
    return Worker(slot, "cpu", ours, BlackBox(0)), theirs
