"""An engine without processes: items end as they say, after the time they say, on the simulated clock.

It keeps to the protocol of the real one (`app.domain.engine`): for each chunk any number of `part`, `unlucky` and
`recalled`, then `ended` or `lost`; chunks of one worker end in the order in which they were given.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.domain.engine import Chunk, Listener, Room, WorkerView
from tests.simulation.fate import Item

_FLUSH_SECONDS = 0.05
_FORK_SECONDS = 0.01
_decode = msgspec.json.Decoder(Item).decode


def _task(name: str, pool: str, concurrency: int) -> dict[str, Any]:
    defaults = {"max_attempts": 1, "item_timeout_seconds": None, "backoff_seconds": 0.2}
    return {"name": name, "pool": pool, "concurrency": concurrency, "defaults": defaults}


TASKS = {"work": _task("work", "cpu", 1), "wait": _task("wait", "io", 3)}


@dataclass(eq=False)
class Given:
    chunk: Chunk
    items: list[Item]
    at: int = 0
    """How many of its items have ended."""
    told: int = 0
    """How many of these were told."""
    began: float = 0.0
    lines: list[bytes] = field(default_factory=list)
    failed: int = 0
    flush_at: float = 0.0
    stop: int | None = None
    """Recalled: no item from this place on starts."""
    taken_from: int | None = None
    """Items from this place on were taken back."""
    cancelled: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def place(self) -> int:
        return self.chunk.first + self.at

    @property
    def index(self) -> int:
        return self.chunk.index(self.place)


@dataclass(eq=False)
class Worker:
    pool: str
    given: list[Given] = field(default_factory=list)
    alive: bool = True
    late: bool = False
    """Whether what runs takes longer than something should wait behind it."""


class ScriptedEngine:
    """Two workers in `cpu`, one in `io`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance
        self._sizes = {"cpu": 2, "io": 1}
        self._workers = [Worker(pool) for pool, size in self._sizes.items() for _ in range(size)]
        self._dead = False

    # -- The engine protocol

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        await asyncio.sleep(self._chance.uniform(0, 0.5))

    async def stop(self) -> None:
        self.die()

    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        return TASKS

    def pools(self) -> Sequence[str]:
        return list(self._sizes)

    def size(self, pool: str) -> int:
        return self._sizes[pool]

    def resize(self, pool: str, processes: int) -> None:
        raise NotImplementedError

    def restarts(self, pool: str) -> int:
        return 0

    @property
    def memory_short(self) -> bool:
        return False

    def workers(self, pool: str) -> Sequence[WorkerView]:
        return []

    def workers_of(self, pool: str) -> Sequence[Worker]:
        """The workers of the pool, as they are."""
        return [worker for worker in self._workers if worker.pool == pool]

    def room(self, pool: str, *, concurrency: int, alone: bool) -> Room:
        found = self._choose(pool, concurrency, alone=alone)
        return found[0] if found else "none"

    def run(self, chunk: Chunk, pool: str) -> None:
        found = self._choose(pool, chunk.concurrency, alone=chunk.alone)
        assert found is not None, "a chunk without room"
        worker = found[1]
        given = Given(chunk, [_decode(line) for line in chunk.lines.splitlines()])
        assert len(given.items) == chunk.count, "a chunk says how many items it has"
        worker.given.append(given)
        if chunk.concurrency > 1 or len(worker.given) == 1:
            self._begin(worker, given)

    def taken(self, chunk_id: int) -> float:
        found = self._find(chunk_id)
        return self._loop.time() - found[1].began if found and found[1].timer else 0.0

    def recall(self, chunk_id: int) -> None:
        if found := self._find(chunk_id):
            worker, given = found
            started = 1 if given.timer is not None else 0
            given.stop = min(given.stop if given.stop is not None else given.chunk.count, given.at + started)
            if not started and given is not worker.given[0]:
                return  # its turn comes, and ends it at once

    def cancel(self, chunk_id: int) -> bool:
        if not (found := self._find(chunk_id)):
            return False
        worker, given = found
        self.recall(chunk_id)
        given.cancelled = True
        running = given.timer is not None
        if (
            running and self._chance.random() < 0.5
        ):  # it hears; else it ends by itself, and its result comes late
            self._delay(given, self._chance.uniform(0, 0.3), self._interrupted, worker, given)
        return running

    def kill(self, chunk_id: int) -> bool:
        if not (found := self._find(chunk_id)):
            return False
        worker, given = found
        running = self.cancel(chunk_id)
        if given is worker.given[0] and all(given.cancelled or given.timer is None for given in worker.given):
            self._lose(worker, None, {})
        return running

    # -- What happens

    @property
    def running(self) -> bool:
        return not self._dead

    def die(self) -> None:
        """With every worker, at once: no event follows."""
        self._dead = True
        for worker in self._workers:
            for given in worker.given:
                if given.timer:
                    given.timer.cancel()

    def kill_one(self) -> None:
        """Some worker is gone, through no fault of its items."""
        worker = self._chance.choice(self._workers)
        if worker.alive and not self._dead:
            self._lose(worker, None, {})

    def _choose(self, pool: str, concurrency: int, *, alone: bool) -> tuple[Room, Worker] | None:
        busy = [given for worker in self._workers for given in worker.given]
        if busy and (alone or any(given.chunk.alone for given in busy)):
            return None
        mine = [worker for worker in self.workers_of(pool) if worker.alive]
        for worker in sorted(mine, key=lambda worker: len(worker.given)):
            if not worker.given or (concurrency > 1 and len(worker.given) < concurrency):
                return "idle", worker
            if concurrency > 1 or worker.late:
                continue
            if len(worker.given) == 1 and worker.given[0].chunk.short:
                return "behind", worker
            if len(worker.given) == 1 and worker.given[0].chunk.long:
                return "after", worker
        return None

    def _find(self, chunk_id: int) -> tuple[Worker, Given] | None:
        pairs = ((worker, given) for worker in self._workers for given in worker.given)
        return next((pair for pair in pairs if pair[1].chunk.id == chunk_id), None)

    def _delay(self, given: Given, seconds: float, then: Any, *arguments: Any) -> None:
        if given.timer:
            given.timer.cancel()
        given.timer = self._loop.call_later(seconds, then, *arguments)

    def _begin(self, worker: Worker, given: Given) -> None:
        given.began = self._loop.time()
        given.flush_at = given.began + _FLUSH_SECONDS
        self._next(worker, given)

    def _next(self, worker: Worker, given: Given) -> None:
        """Start the next item, or end the chunk."""
        given.timer = None
        if given.at >= (given.chunk.count if given.stop is None else given.stop):
            self._end(worker, given, given.at)
            return
        seconds = given.items[given.at].ms / 1000
        self._delay(given, seconds, self._item_ended, worker, given)
        if given.chunk.concurrency == 1 and self._chance.random() < 0.1:
            self._loop.call_later(self._chance.uniform(0, seconds), self._take_back, worker, given, given.at)

    def _take_back(self, worker: Worker, given: Given, at: int) -> None:
        """The item takes long: what waits in the worker goes back at once."""
        if self._dead or given not in worker.given or given.timer is None or given.at != at:
            return
        worker.late = True
        for other in list(worker.given):
            place = at + 1 if other is given else 0
            left = other.chunk.count if other.taken_from is None else other.taken_from
            if place < left:
                other.taken_from = place
                other.stop = place if other.stop is None else min(other.stop, place)
                self._listener.recalled(other.chunk.id, other.chunk.first + place)
        self._listener.room()

    def _item_ended(self, worker: Worker, given: Given) -> None:
        given.timer = None
        item, attempt = given.items[given.at], given.chunk.attempt
        if item.fate == "die" and attempt <= item.k:
            self._lose(
                worker, given, {"kind": "crashed", "type": "WorkerLost", "message": "", "signal": "SIGKILL"}
            )
            return
        if item.fate == "oom" and not given.chunk.alone:
            self._lose(worker, given, {"kind": "out_of_memory", "type": "MemoryError", "message": ""})
            return
        wrong = item.fate == "fail" or (item.fate == "flaky" and attempt <= item.k)
        if wrong and attempt < given.chunk.max_attempts:
            self._flush(given)
            given.at += 1
            given.told += 1
            self._listener.unlucky(
                given.chunk.id, given.place - 1, {"kind": "exception", "type": "E", "message": ""}
            )
        else:
            given.lines.append(_line(given.index, item, attempt, wrong=wrong))
            given.failed += wrong
            given.at += 1
            if self._loop.time() >= given.flush_at or self._chance.random() < 0.02:
                self._flush(given)
        if not self._dead and given in worker.given:  # the listener may have stopped us
            self._next(worker, given)

    def _interrupted(self, worker: Worker, given: Given) -> None:
        """The running item of a cancelled chunk ends: kindly, or with its worker."""
        given.timer = None
        if self._chance.random() < 0.5:
            self._end(worker, given, given.at)
        else:
            self._lose(worker, given, {"kind": "cancelled", "type": "Cancelled", "message": ""})

    def _flush(self, given: Given) -> None:
        if given.lines:
            first, count, failed = given.chunk.first + given.told, len(given.lines), given.failed
            lines = b"".join(given.lines)
            given.lines, given.failed, given.told = [], 0, given.at
            given.flush_at = self._loop.time() + _FLUSH_SECONDS
            self._listener.part(given.chunk.id, first, count, failed, lines, ())

    def _end(self, worker: Worker, given: Given, at: int) -> None:
        self._flush(given)
        worker.given.remove(given)
        worker.late = False
        seconds = self._loop.time() - given.began
        self._listener.ended(given.chunk.id, given.chunk.first + at, seconds)
        if worker.given and worker.given[0].timer is None and not self._dead:
            self._begin(worker, worker.given[0])
        if not self._dead:
            self._listener.room()

    def _lose(self, worker: Worker, guilty: Given | None, error: dict[str, Any]) -> None:
        """The worker's process is gone; part of what it had not sent yet is gone with it."""
        lost, worker.given, worker.alive, worker.late = worker.given, [], False, False
        for given in lost:
            if given.timer:
                given.timer.cancel()
            if self._chance.random() < 0.5:
                self._flush(given)
        for given in lost:
            # The marked item is to blame, whether or not what ran before it in the chunk had been sent.
            culprit = given.place if given is guilty else None
            self._listener.lost(
                given.chunk.id, given.chunk.first + given.told, culprit, error if culprit is not None else {}
            )
        self._loop.call_later(_FORK_SECONDS, self._forked, worker)

    def _forked(self, worker: Worker) -> None:
        worker.alive = True
        if not self._dead:
            self._listener.room()


def _line(index: int, item: Item, attempt: int, *, wrong: bool) -> bytes:
    end = b',"attempts":%d}\n' % attempt if attempt > 1 else b"}\n"
    if wrong:
        return b'{"index":%d,"error":{"kind":"exception","type":"E","message":""}' % index + end
    return b'{"index":%d,"output":%d' % (index, item.n) + end
