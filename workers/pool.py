"""The pool: supervises the zygote and its workers from the service's event loop.

How it works: all knowledge about a worker is in its `Slot`; this module only moves bytes, watches the clock and
carries out what slots decide.  Each worker has its own socket pair, so a worker that dies in the middle of
anything leaves nothing locked and nobody else's bytes damaged.  Again and again (`Rounds`) the pool looks at the
marks that workers leave in shared memory; that is all that time limits need.

Invariant: the pool is never broken: a worker that is gone is replaced at once, and so is the zygote.
"""

import asyncio
import contextlib
import logging
import mmap
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from workers.blackbox import BlackBox
from workers.contract import Chunk, Listener, Room
from workers.forker import START_SECONDS_MAX, Forker
from workers.interrupt import SIGNAL
from workers.launcher import Launcher
from workers.memory import MemoryGuard, Pressure
from workers.postmortem import Exit, Reason
from workers.rounds import CALM_SECONDS, PRESSED_SECONDS, WATCH_SECONDS, Rounds
from workers.slot import Action, Slot
from workers.wire import WIRE_ID, WORKERS_MAX, Frame, Kind, Marks, ProtocolError
from workers.worker import Worker, WorkerView, all_calm, connection_pair, with_most_room, youngest_of

SETTLED_SECONDS = 0.001
"""After this every processor has seen what was written to shared memory, many times over."""
STILLBORN_MAX = 10
"""So many workers in a row may end before they come to an item: the next are forked after a while."""
REFILL_SECONDS_MIN = 0.1
REFILL_SECONDS_MAX = 5.0
FORKED_AT_ONCE = LET_GO_AT_ONCE = 16
WAITING_PER_CPU = 4
"""Workers, for each of the largest pool, in a pool whose tasks mostly wait."""
EXIT_REPORT_SECONDS_MAX = 5.0
"""How long an ended stream may wait for word of how the process ended."""

log = logging.getLogger(__name__)


class Pool:
    """Worker processes in named pools; see `Listener` for what it tells.

    A pool of size None gets workers only if a task asks for it.  `launcher` is the pool's to close, once it is started.

    All methods belong to one event loop and return at once, but for `start`.
    """

    def __init__(self, sizes: Mapping[str, int | None], launcher: Launcher, guard: MemoryGuard) -> None:
        self._sizes = {pool: size or 0 for pool, size in sizes.items()}
        self._unsized = [pool for pool, size in sizes.items() if size is None]
        self._launcher = launcher
        self._memory = mmap.mmap(launcher.memory_fd, 0)
        self._forker = Forker(self, launcher)
        self._guard = guard
        self._workers: dict[int, Worker] = {}
        self._holders: dict[int, Worker] = {}
        """Who has which chunk, by so much of its id as travels."""
        self._free_ids = deque(range(WORKERS_MAX))
        self._tasks: dict[str, dict[str, Any]] = {}
        self._restarts = dict.fromkeys(sizes, 0)
        self._described: asyncio.Future[None] | None = None
        self._stopping = False
        self._stillborn = 0
        """How many workers in a row ended before they came to an item."""
        self._refill_seconds = REFILL_SECONDS_MIN
        self._refill_timer: asyncio.Handle | None = None
        """Forks what is missing, after so many."""
        self._pressed = False
        """Whether memory is short, and no item should start."""

    async def start(self, listener: Listener) -> None:
        """Start the zygote and every worker.  PoolError if the tasks cannot be loaded; then nothing runs."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        try:
            await self._forker.start()
        except BaseException:
            self._launcher.close()
            raise
        try:
            await self._describe()
        except BaseException:
            await self.stop()
            raise
        self._fork_missing()
        self._rounds = Rounds(self._watch)

    async def _describe(self) -> None:
        """Learn from a worker which tasks there are, and size the pools after that."""
        self._described = self._loop.create_future()
        self._fork_missing()
        first = next(iter(self._workers.values()))
        first.send(Frame(Kind.DESCRIBE))
        async with asyncio.timeout(START_SECONDS_MAX):
            await self._described
        for pool in self._unsized:
            if any(task["pool"] == pool for task in self._tasks.values()):
                self._sizes[pool] = WAITING_PER_CPU * max(self._sizes.values())

    async def stop(self) -> None:
        """End every worker and the zygote, at once."""
        self._stopping = True
        if hasattr(self, "_rounds"):
            self._rounds.stop()
        for worker in list(self._workers.values()):
            self._kill(worker, Reason.STOPPED)
            self._forget(worker)
        await self._forker.close()
        self._launcher.close()

    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Every task, as its worker describes it."""
        return self._tasks

    def pools(self) -> Sequence[str]:
        return list(self._sizes)

    def size(self, pool: str) -> int:
        """How many workers the pool has when it is whole."""
        return self._sizes[pool]

    def resize(self, pool: str, processes: int) -> None:
        """Grow at once; shrink as workers come to the end of the items they run.  No item is lost."""
        self._sizes[pool] = processes
        self._fork_missing()
        by_load = sorted(self._staying(pool), key=lambda worker: worker.slot.chunks)
        for worker in by_load[: max(0, len(by_load) - processes)]:
            worker.surplus = True
            worker.slot.retire()
            if not worker.slot.chunks:
                worker.signal(signal.SIGKILL)
        self._listener.room()

    def restarts(self, pool: str) -> int:
        """How many workers were replaced since the start."""
        return self._restarts[pool]

    @property
    def memory_short(self) -> bool:
        """Whether nothing starts for want of memory."""
        return self._pressed

    def workers(self, pool: str) -> Sequence[WorkerView]:
        return [worker.view(self._loop.time()) for worker in self._workers.values() if worker.pool == pool]

    def room(self, pool: str, *, concurrency: int, alone: bool) -> Room:
        """`idle`: such a chunk would start at once; `behind`: it would wait for a short one; `none`."""
        choice = self._choose(pool, concurrency, alone=alone)
        return "none" if choice is None else choice.slot.room(concurrency)

    def run(self, chunk: Chunk, pool: str) -> None:
        """Send a chunk to the worker with the most room.  There must be room."""
        worker = self._choose(pool, chunk.concurrency, alone=chunk.alone)
        assert worker is not None, "a chunk without room"
        self._holders[chunk.id & WIRE_ID] = worker
        worker.send(worker.slot.give(chunk, self._loop.time()))
        self._rounds.within(WATCH_SECONDS, unless=self._calm)

    def taken(self, chunk_id: int) -> float:
        """How many seconds its worker has been at the chunk; 0 while it waits there, or is gone."""
        worker = self._holder(chunk_id)
        return worker.slot.taken(chunk_id, self._loop.time()) if worker else 0.0

    def recall(self, chunk_id: int) -> None:
        """Start none of its further items."""
        if worker := self._holder(chunk_id):
            worker.slot.recall(chunk_id)

    def cancel(self, chunk_id: int) -> bool:
        """Recall it, and end the item of it that runs, kindly, then by force; whether one was running."""
        worker = self._holder(chunk_id)
        frame = worker.slot.cancel(chunk_id, self._loop.time()) if worker else None
        if worker is None or frame is None:
            return False
        worker.send(frame)
        self._rounds.within(WATCH_SECONDS)
        return worker.slot.current is not None and worker.slot.current.id == chunk_id

    def kill(self, chunk_id: int) -> bool:
        """As `cancel`, but by force at once where the worker runs nothing of others; whether an item was running."""
        running = self.cancel(chunk_id)
        worker = self._holder(chunk_id)
        if worker is not None and worker.slot.only_cancelled:
            self._kill(worker, Reason.CANCELLED)
            self._loop.call_soon(self._fork_further)  # hundreds may be killed together
        return running

    def _holder(self, chunk_id: int) -> Worker | None:
        worker = self._holders.get(chunk_id & WIRE_ID)
        return worker if worker and chunk_id in worker.slot.chunk_ids() else None

    def _choose(self, pool: str, concurrency: int, *, alone: bool) -> Worker | None:
        return with_most_room(self._workers.values(), pool, concurrency, alone=alone or self._pressed)

    # -- What the forker tells

    def forked(self, worker_id: int, pid: int, pidfd: int) -> None:
        if worker := self._workers.get(worker_id):
            worker.forked(pid, pidfd)
        else:
            os.close(pidfd)

    def ended(self, worker_id: int, pid: int, exit_: Exit) -> None:
        worker = self._workers.get(worker_id)
        if worker is not None and worker.slot.pid == pid:
            self._ended(worker, exit_)

    def orphaned(self) -> None:
        """The workers die with their parent, through no fault of their items."""
        self._orphaned(list(self._workers.values()))

    def _orphaned(self, workers: list[Worker]) -> None:
        for worker in workers[:LET_GO_AT_ONCE]:
            if self._workers.get(worker.slot.id) is worker:
                self._kill(worker, Reason.STOPPED)
                worker.end_group()
                self._gone(worker, Exit(None))
        if len(workers) > LET_GO_AT_ONCE:
            self._loop.call_soon(self._orphaned, workers[LET_GO_AT_ONCE:])

    def reborn(self) -> None:
        self._refill()

    # -- Workers

    def _refill(self) -> None:
        """Fork what is missing, and have it given something."""
        if self._refill_timer is not None:
            self._refill_timer.cancel()
            self._refill_timer = None
        self._fork_missing()
        self._listener.room()

    def _fork_missing(self) -> None:
        """Fork missing workers, some at a time, so that others get the loop in between."""
        if self._stopping:
            return
        missing = [pool for pool, size in self._sizes.items() for _ in range(size - len(self._staying(pool)))]
        for pool in missing[:FORKED_AT_ONCE]:
            self._fork(pool)
        if len(missing) > FORKED_AT_ONCE:
            self._loop.call_soon(self._fork_further)

    def _fork_further(self) -> None:
        self._fork_missing()
        self._listener.room()

    def _staying(self, pool: str) -> list[Worker]:
        return [w for w in self._workers.values() if w.pool == pool and not w.slot.leaving]

    def _fork(self, pool: str) -> None:
        worker_id = self._free_ids.popleft()
        marks = Marks(self._memory, worker_id)
        marks.clear()
        ours, theirs = connection_pair()
        box = BlackBox(worker_id)
        self._forker.fork(worker_id, theirs, box.fd)
        slot = Slot(worker_id, marks, self._listener, now=self._loop.time())
        worker = self._workers[worker_id] = Worker(slot, pool, ours, box)
        worker.listen(self._on_readable)

    def _on_readable(self, worker: Worker) -> None:
        """Take one helping of what the worker wrote; the loop comes back if there is more."""
        try:
            self._take(worker)
        except EOFError:
            # The zygote has the last word on how it ended; this is only the first to be heard.
            self._loop.call_later(EXIT_REPORT_SECONDS_MAX, self._ended, worker, Exit(None))
            worker.signal(signal.SIGKILL)

    def _take(self, worker: Worker) -> None:
        slot = worker.slot
        try:
            for frame in worker.receive():
                if frame.kind is Kind.TASKS:
                    self._tasks = {entry["name"]: entry for entry in msgspec.json.decode(frame.body)}
                    assert self._described is not None
                    self._described.set_result(None)
                    continue
                slot.received(frame, self._loop.time())
                if frame.kind is Kind.DONE:
                    self._holders.pop(frame.chunk_id, None)
                    self._after_chunk(worker)
        except ProtocolError as error:
            # Only a task that writes to the socket itself can do this, by its number.
            log.error("worker %s sent what cannot be read (%s); killing it", slot.pid, error)
            worker.stop_reading()
            self._kill(worker, Reason.BROKEN)

    def _after_chunk(self, worker: Worker) -> None:
        """A worker that was told to leave does so between chunks, and its successor need not wait for that."""
        slot = worker.slot
        if slot.kill_reason is Reason.RETIRED and not slot.chunks:
            worker.signal(signal.SIGKILL)
            self._fork_missing()
        self._listener.room()
        if not slot.chunks:
            self._rounds.within(WATCH_SECONDS)  # it could run what waits elsewhere

    def _ended(self, worker: Worker, exit_: Exit) -> None:
        """Its process is gone: read what it still managed to send, some at a time, then replace it."""
        if self._workers.get(worker.slot.id) is not worker:
            return  # it was replaced while its process was said to be gone
        with contextlib.suppress(EOFError):
            while worker.readable():
                self._take(worker)
                if worker.behind:
                    self._loop.call_soon(self._ended, worker, exit_)
                    return
        oom = exit_.status == -signal.SIGKILL and not worker.slot.leaving and self._guard.oom_happened()
        told = replace(exit_, stack=worker.box.stack(), log=worker.box.log(), oom=oom)
        self._gone(worker, told)
        self._restarts[worker.pool] += not worker.surplus
        self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        """Fork what is missing: at once, but not in a loop when workers do not even come to their first item."""
        if not worker.slot.stillborn:
            self._stillborn, self._refill_seconds = 0, REFILL_SECONDS_MIN
        elif self._refill_timer is not None:
            return
        else:
            self._stillborn += 1
        if self._stillborn <= STILLBORN_MAX:
            self._refill()
            return
        seconds = self._refill_seconds
        self._refill_seconds = min(seconds * 2, REFILL_SECONDS_MAX)
        log.error(
            "%d workers in a row ended before their first item; the next in %.1f s", self._stillborn, seconds
        )
        self._refill_timer = self._loop.call_later(seconds, self._refill)

    def _gone(self, worker: Worker, exit_: Exit) -> None:
        self._forget(worker)
        worker.slot.died(exit_)

    def _forget(self, worker: Worker) -> None:
        for chunk_id in worker.slot.chunk_ids():
            self._holders.pop(chunk_id & WIRE_ID, None)
        worker.close()
        del self._workers[worker.slot.id]
        self._free_ids.append(worker.slot.id)

    def _kill(self, worker: Worker, reason: Reason) -> None:
        worker.slot.kill(reason)
        worker.signal(signal.SIGKILL)

    def _watch(self) -> float:
        now = self._loop.time()
        printing = False
        for worker in list(self._workers.values()):
            if not worker.reading:
                continue  # it is gone, or as good as; how it ended will be told
            match worker.slot.watch(now):
                case Action.INTERRUPT:
                    worker.signal(SIGNAL)
                case Action.KILL:
                    worker.signal(signal.SIGKILL)
                    self._fork_missing()  # not waiting for its memory to be freed, 65 ms a gigabyte
            printing |= worker.box.bound()
        self._share_what_waits(now)
        pressure = self._guard.look(now)
        if pressure is Pressure.KILL and (youngest := youngest_of(self._workers.values())):
            log.warning("memory is short: ending worker %s, whose item began last", youngest.slot.pid)
            self._kill(youngest, Reason.MEMORY)
        pressed = pressure in (Pressure.HOLD, Pressure.KILL)
        if self._pressed and not pressed:
            self._listener.room()
        self._pressed = pressed
        if pressure is not Pressure.NONE:
            return PRESSED_SECONDS
        return CALM_SECONDS if self._calm() and not printing else WATCH_SECONDS

    def _calm(self) -> bool:
        """Whether nothing is lost by looking at the workers less often."""
        return self._guard.limit_bytes is None and all_calm(self._workers.values())

    def _share_what_waits(self, now: float) -> None:
        """Take back what waits in a worker behind something that takes long."""
        idle = {w.pool for w in self._workers.values() if not w.slot.chunks and w.slot.room(1) == "idle"}
        for worker in self._workers.values():
            if worker.slot.hold_back(now, idle=worker.pool in idle):
                self._loop.call_later(SETTLED_SECONDS, self._take_back, worker)

    def _take_back(self, worker: Worker) -> None:
        worker.slot.take_back()
        self._listener.room()
