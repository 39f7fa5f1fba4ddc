"""One worker's process, as the pool holds it: its connection, its flight recorder, and the way to end it.

Invariant: nothing here blocks, and a signal goes to this very process or to none.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from workers.blackbox import BlackBox
from workers.slot import Slot
from workers.wire import SOCKET_BUFFER_BYTES, Frame, FrameReader

SMALL_BYTES = 16 << 10
"""What most reports fit in.  For a larger buffer memory is mapped, and given back, each time."""
READ_BYTES = 256 << 10
"""What is read at once while there is that much."""
FRAMES_AT_ONCE = 16
"""Of those that were read together, before others have the loop: a task may say a word a line."""
VECTORS_MAX = 64
"""Parts of frames that are sent in one call."""


def connection_pair() -> tuple[socket.socket, socket.socket]:
    """Ours, which does not block, and the worker's; with room for a megabyte each way."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    ours.setblocking(False)
    return ours, theirs


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, for people to look at."""

    id: int
    pid: int | None
    state: str
    task: str | None
    item: int | None
    chunk_id: int | None
    item_seconds: float | None
    items_done: int


class Worker:
    """A slot with what belongs to its process."""

    def __init__(self, slot: Slot, pool: str, connection: socket.socket, box: BlackBox) -> None:
        self.slot = slot
        self.pool = pool
        self.box = box
        self.reading = True
        """Whether its stream has not ended."""
        self.surplus = False
        """Whether it leaves without a successor."""
        self._connection = connection
        self._reader = FrameReader()
        self._frames: Iterator[Frame] | None = None
        """What was read and not received yet."""
        self._coming_back = False
        self._on_readable: Callable[[Worker], None] = lambda _: None
        self._helping = SMALL_BYTES
        self._outgoing: deque[memoryview] = deque()
        self._pidfd: int | None = None
        self._loop = asyncio.get_running_loop()

    def view(self, now: float) -> WorkerView:
        """What people see of it."""
        slot, chunk = self.slot, self.slot.current
        state = "starting" if slot.pid is None else "leaving" if slot.leaving else "busy" if chunk else "idle"
        task, chunk_id = (chunk.task, chunk.id) if chunk else (None, None)
        item = slot.item
        seconds = None if item is None else round(now - slot.seen_at, 3)
        return WorkerView(slot.id, slot.pid, state, task, item, chunk_id, seconds, slot.items_done)

    def listen(self, on_readable: Callable[["Worker"], None]) -> None:
        """Have the loop call whenever there is something to `receive`."""
        self._on_readable = on_readable
        self._loop.add_reader(self._connection, on_readable, self)

    def forked(self, pid: int, pidfd: int) -> None:
        """The process runs; the pidfd is ours now."""
        self.slot.pid, self._pidfd = pid, pidfd
        if self.slot.leaving:
            self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, if it is there yet and still."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def end_group(self) -> None:
        """End what its tasks have started; the zygote does so, unless it is gone itself."""
        if self.slot.pid is not None:
            with contextlib.suppress(OSError):
                os.killpg(self.slot.pid, signal.SIGKILL)

    @property
    def behind(self) -> bool:
        """Whether more was read than was received."""
        return self._frames is not None

    def receive(self) -> Iterator[Frame]:
        """One helping of what it wrote; nothing if there is nothing, EOFError at the end of the stream."""
        self._frames = frames = self._frames or self._read()
        for number, frame in enumerate(frames, start=1):
            yield frame
            if number == FRAMES_AT_ONCE:
                if not self._coming_back:
                    self._coming_back = True
                    self._loop.call_soon(self._come_back)
                return
        self._frames = None

    def _come_back(self) -> None:
        self._coming_back = False
        if self.behind and self.reading:
            self._on_readable(self)

    def _read(self) -> Iterator[Frame]:
        try:
            data = self._connection.recv(self._helping)
        except BlockingIOError:
            return iter(())
        except ConnectionResetError:
            data = b""
        if not data:
            self.stop_reading()
            raise EOFError
        self._helping = READ_BYTES if len(data) >= SMALL_BYTES else SMALL_BYTES
        return self._reader.feed(data)

    def readable(self) -> bool:
        """Whether there is more to `receive`, or the end."""
        if not self.reading:
            return False
        if self.behind:
            return True
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    def send(self, frame: Frame) -> None:
        """Send at once what the socket takes, the rest when it takes more."""
        idle = not self._outgoing
        self._outgoing.extend(map(memoryview, frame.buffers()))
        if idle:
            self._flush()
            if self._outgoing:
                self._loop.add_writer(self._connection, self._on_writable)

    def stop_reading(self) -> None:
        if self.reading:
            self.reading = False
            self._loop.remove_reader(self._connection)

    def close(self) -> None:
        """Let go of everything but the process."""
        self.stop_reading()
        self._loop.remove_writer(self._connection)
        self._connection.close()
        self.box.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _on_writable(self) -> None:
        self._flush()
        if not self._outgoing:
            self._loop.remove_writer(self._connection)

    def _flush(self) -> None:
        outgoing = self._outgoing
        try:
            while outgoing:
                sent = self._connection.sendmsg(islice(outgoing, VECTORS_MAX))
                while outgoing and sent >= len(outgoing[0]):
                    sent -= len(outgoing.popleft())
                if sent:
                    outgoing[0] = outgoing[0][sent:]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            outgoing.clear()  # its end will be reported


def with_most_room(workers: Iterable[Worker], pool: str, concurrency: int, *, alone: bool) -> Worker | None:
    """The worker of the pool with the fewest chunks of those that have room; `alone`: only if no worker has any."""
    behind = least = None
    fewest = 0
    for worker in workers:
        slot = worker.slot
        if (alone or slot.alone) and slot.chunks:
            return None  # if nothing runs, waiting for memory would help nobody
        if worker.pool != pool or not worker.reading:
            continue
        room = slot.room(concurrency)
        if room == "idle" and (least is None or slot.chunks < fewest):
            least, fewest = worker, slot.chunks
        elif room == "behind" or (room == "after" and behind is None):
            behind = worker
    return least or behind


def youngest_of(workers: Iterable[Worker]) -> Worker | None:
    """The worker whose item began last: it has lost least."""
    busy = [worker for worker in workers if worker.slot.item is not None and not worker.slot.leaving]
    return max(busy, key=lambda worker: worker.slot.seen_at, default=None)


def all_calm(workers: Collection[Worker]) -> bool:
    """Whether none has something with a time limit, or that waits where it could run sooner elsewhere."""
    idle = {worker.pool for worker in workers if not worker.slot.chunks}
    return all(not worker.slot.chunks or (worker.pool not in idle and worker.slot.calm) for worker in workers)
