"""The pool: supervises the zygote and its workers from the service's event loop.

How it works: all knowledge about a worker is in its `Slot`; this module only moves bytes, watches the clock and
carries out what slots decide.  Each worker has its own socket pair, so a worker that dies in the middle of
anything leaves nothing locked and nobody else's bytes damaged.  Every `WATCH_SECONDS` the pool looks at the
marks that workers leave in shared memory; that is all that time limits need.

Invariant: the pool is never broken: a worker that is gone is replaced at once, and so is the zygote.
"""

import asyncio
import contextlib
import logging
import mmap
import os
import signal
import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from workers.forker import START_SECONDS_MAX, Forker
from workers.slot import Chunk, Exit, Listener, Reason, Slot
from workers.wire import SLOT_BYTES, SOCKET_BUFFER_BYTES, Frame, FrameReader, Kind, Marks, ProtocolError

WATCH_SECONDS = 0.020
READ_BYTES = 256 << 10
WORKERS_MAX = 1024
EXIT_REPORT_SECONDS_MAX = 5.0
"""How long an ended stream may wait for word of how the process ended."""

Room = Literal["idle", "behind", "none"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    """A slot with what belongs to its process."""

    slot: Slot
    pool: str
    connection: socket.socket
    reader: FrameReader = field(default_factory=FrameReader)
    outgoing: deque[memoryview] = field(default_factory=deque)
    pidfd: int | None = None
    reading: bool = True


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, for people to look at."""

    id: int
    pid: int | None
    state: str
    task: str | None
    item: int | None
    chunk_id: int | None
    items_done: int


class Pool:
    """Worker processes in named pools; see `Listener` for what it tells.

    All methods belong to one event loop and return at once, but for `start`.
    """

    def __init__(self, sizes: Mapping[str, int], modules: Iterable[str], files: Path) -> None:
        self._sizes = dict(sizes)
        self._modules = tuple(modules)
        self._files = files
        self._workers: dict[int, _Worker] = {}
        self._free_ids = deque(range(WORKERS_MAX))
        self._by_chunk: dict[int, _Worker] = {}
        self._tasks: dict[str, dict[str, Any]] = {}
        self._restarts = dict.fromkeys(sizes, 0)
        self._described: asyncio.Future[None] | None = None
        self._stopping = False

    async def start(self, listener: Listener) -> None:
        """Start the zygote and every worker.  PoolError if the tasks cannot be loaded."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._memory_fd = os.memfd_create("marks")
        os.ftruncate(self._memory_fd, WORKERS_MAX * SLOT_BYTES)
        self._memory = mmap.mmap(self._memory_fd, 0)
        self._forker = Forker(self, self._modules, self._files, self._memory_fd)
        await self._forker.start()
        self._described = self._loop.create_future()
        self._fork_missing()
        first = next(iter(self._workers.values()))
        self._send(first, Frame(Kind.DESCRIBE))
        async with asyncio.timeout(START_SECONDS_MAX):
            await self._described
        self._watch()

    async def stop(self) -> None:
        """End every worker and the zygote, at once."""
        self._stopping = True
        if hasattr(self, "_watcher"):
            self._watcher.cancel()
        for worker in list(self._workers.values()):
            self._kill(worker, Reason.STOPPED)
            self._forget(worker)
        await self._forker.close()
        os.close(self._memory_fd)

    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Every task, as its worker describes it."""
        return self._tasks

    def pools(self) -> Sequence[str]:
        return list(self._sizes)

    def size(self, pool: str) -> int:
        """How many workers the pool has when it is whole."""
        return self._sizes[pool]

    def restarts(self, pool: str) -> int:
        """How many workers were replaced since the start."""
        return self._restarts[pool]

    def workers(self, pool: str) -> Sequence[WorkerView]:
        return [self._view(worker) for worker in self._workers.values() if worker.pool == pool]

    def room(self, pool: str) -> Room:
        """`idle`: a chunk would start at once; `behind`: it would wait for a short one; `none`."""
        choice = self._choose(pool)
        return "none" if choice is None else "behind" if choice.slot.chunks else "idle"

    def run(self, chunk: Chunk, pool: str) -> None:
        """Send a chunk to the worker with the most room.  There must be room."""
        worker = self._choose(pool)
        assert worker is not None, "a chunk without room"
        self._by_chunk[chunk.id] = worker
        self._send(worker, worker.slot.give(chunk, self._loop.time()))

    def recall(self, chunk_id: int, *, grace_seconds: float) -> None:
        """Start none of its further items, and end the one that runs if it takes longer than the grace."""
        if worker := self._by_chunk.get(chunk_id):
            worker.slot.recall(chunk_id, self._loop.time(), grace_seconds)

    def _choose(self, pool: str) -> _Worker | None:
        behind = None
        for worker in self._workers.values():
            slot = worker.slot
            if worker.pool != pool or slot.leaving or not worker.reading:
                continue
            if slot.chunks == 0:
                return worker
            if slot.chunks == 1 and slot.only_short:
                behind = worker
        return behind

    def _view(self, worker: _Worker) -> WorkerView:
        slot, chunk = worker.slot, worker.slot.current
        state = "starting" if slot.pid is None else "leaving" if slot.leaving else "busy" if chunk else "idle"
        task, chunk_id = (chunk.task, chunk.id) if chunk else (None, None)
        return WorkerView(slot.id, slot.pid, state, task, slot.item, chunk_id, slot.items_done)

    # -- What the forker tells

    def forked(self, worker_id: int, pid: int, pidfd: int) -> None:
        worker = self._workers.get(worker_id)
        if worker is None:
            os.close(pidfd)
            return
        worker.slot.pid, worker.pidfd = pid, pidfd
        if worker.slot.kill_reason:
            self._kill(worker, worker.slot.kill_reason)

    def ended(self, worker_id: int, exit_: Exit) -> None:
        if worker := self._workers.get(worker_id):
            self._ended(worker, exit_)

    def orphaned(self) -> None:
        """The workers die with their parent, through no fault of their items."""
        for worker in list(self._workers.values()):
            self._kill(worker, Reason.STOPPED)
            self._gone(worker, Exit(None))

    def reborn(self) -> None:
        self._fork_missing()
        self._listener.room()

    # -- Workers

    def _fork_missing(self) -> None:
        for pool, size in self._sizes.items():
            for _ in range(size - sum(worker.pool == pool for worker in self._workers.values())):
                self._fork(pool)

    def _fork(self, pool: str) -> None:
        worker_id = self._free_ids.popleft()
        marks = Marks(self._memory, worker_id)
        marks.clear()
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            ours.setblocking(False)
            self._forker.fork(worker_id, theirs)
        worker = _Worker(Slot(worker_id, marks, self._listener, now=self._loop.time()), pool, ours)
        self._workers[worker_id] = worker
        self._loop.add_reader(ours, self._on_readable, worker)

    def _on_readable(self, worker: _Worker) -> None:
        """Take one helping of what the worker wrote; the loop comes back if there is more."""
        try:
            data = worker.connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            # The zygote has the last word on how it ended; this is only the first to be heard.
            self._stop_reading(worker)
            self._loop.call_later(EXIT_REPORT_SECONDS_MAX, self._ended_unseen, worker)
            self._kill(worker, worker.slot.kill_reason)
            return
        self._take(worker, data)

    def _take(self, worker: _Worker, data: bytes) -> None:
        slot = worker.slot
        try:
            for frame in worker.reader.feed(data):
                if frame.kind is Kind.TASKS:
                    self._tasks = {entry["name"]: entry for entry in msgspec.json.decode(frame.body)}
                    assert self._described is not None
                    self._described.set_result(None)
                    continue
                chunk = slot.current
                if chunk is None:
                    raise ProtocolError("a result without a chunk")
                slot.received(frame, self._loop.time())
                if frame.kind is Kind.DONE:
                    self._by_chunk.pop(chunk.id, None)
                    self._listener.room()
        except ProtocolError:
            # Only a task that writes to the socket itself can do this, by its number.
            log.exception("worker %s sent what cannot be read; killing it", slot.pid)
            self._stop_reading(worker)
            self._kill(worker, None)

    def _ended(self, worker: _Worker, exit_: Exit) -> None:
        """Its process is gone: read what it still managed to send, then replace it."""
        while worker.reading:
            try:
                data = worker.connection.recv(READ_BYTES)
            except (BlockingIOError, ConnectionResetError):
                break
            if not data:
                break
            self._take(worker, data)
        self._gone(worker, exit_)
        if not self._stopping:
            self._restarts[worker.pool] += 1
            self._fork(worker.pool)
            self._listener.room()

    def _ended_unseen(self, worker: _Worker) -> None:
        if self._workers.get(worker.slot.id) is worker:
            self._ended(worker, Exit(None))

    def _gone(self, worker: _Worker, exit_: Exit) -> None:
        for chunk_id in [key for key, value in self._by_chunk.items() if value is worker]:
            del self._by_chunk[chunk_id]
        self._forget(worker)
        worker.slot.died(exit_)

    def _forget(self, worker: _Worker) -> None:
        self._stop_reading(worker)
        self._loop.remove_writer(worker.connection)
        worker.connection.close()
        if worker.pidfd is not None:
            os.close(worker.pidfd)
            worker.pidfd = None
        del self._workers[worker.slot.id]
        self._free_ids.append(worker.slot.id)

    def _stop_reading(self, worker: _Worker) -> None:
        if worker.reading:
            worker.reading = False
            self._loop.remove_reader(worker.connection)

    def _kill(self, worker: _Worker, reason: Reason | None) -> None:
        """End the process; the pidfd makes sure that it is this one and no other."""
        worker.slot.kill_reason = reason
        if worker.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)

    def _send(self, worker: _Worker, frame: Frame) -> None:
        idle = not worker.outgoing
        worker.outgoing.extend((memoryview(frame.header()), memoryview(frame.body)))
        if idle:
            self._on_writable(worker)
            if worker.outgoing:
                self._loop.add_writer(worker.connection, self._on_writable, worker)

    def _on_writable(self, worker: _Worker) -> None:
        outgoing = worker.outgoing
        try:
            while outgoing:
                sent = worker.connection.sendmsg(list(outgoing)[:16])
                while outgoing and sent >= len(outgoing[0]):
                    sent -= len(outgoing.popleft())
                if outgoing and sent:
                    outgoing[0] = outgoing[0][sent:]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            outgoing.clear()  # its end will be reported
        self._loop.remove_writer(worker.connection)

    def _watch(self) -> None:
        now = self._loop.time()
        for worker in list(self._workers.values()):
            if reason := worker.slot.overdue(now):
                self._kill(worker, reason)
        self._watcher = self._loop.call_later(WATCH_SECONDS, self._watch)
