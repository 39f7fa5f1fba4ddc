"""One worker, as the pool sees it.

How it works: a slot is told what happened (a chunk was given, a frame came, time passed, the process ended) and
answers with what follows: calls on its listener, or a reason to kill.  It touches no socket, process or clock,
so every sequence of events can be tested.

Invariant: for each chunk given, each of its items is reported in exactly one of `part`, `unlucky`, or as left
over by `ended` or `lost`; and at most one item of a lost worker is to blame.
"""

import json
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from workers.wire import NO_LIMIT, Frame, Kind, Marks

START_SECONDS_MAX = 10.0
"""A worker that marks no item for this long, though it has some under a time limit, is stuck by itself."""


class Chunk(Protocol):
    """A run of items of one job; what each member means is told where chunks are made."""

    @property
    def id(self) -> int: ...
    @property
    def task(self) -> str: ...
    @property
    def params(self) -> bytes: ...
    @property
    def first(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def lines(self) -> bytes: ...
    @property
    def timeout_seconds(self) -> float | None: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def key_field(self) -> str | None: ...
    @property
    def short(self) -> bool: ...


class Listener(Protocol):
    """Who hears what becomes of chunks."""

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None: ...
    def unlucky(self, chunk_id: int, index: int, error: Mapping[str, Any]) -> None: ...
    def ended(self, chunk_id: int, stop: int, seconds: float) -> None: ...
    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None: ...
    def room(self) -> None: ...


class Reason(Enum):
    """Why the pool kills a worker."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker's process ended, as its parent was told; `status` None if nobody can tell."""

    status: int | None
    max_rss_bytes: int = 0

    def describe(self) -> dict[str, Any]:
        """The error of the item that was running: its signal or exit code, in words and as data."""
        error: dict[str, Any] = {"kind": "crashed", "type": "WorkerDied"}
        if self.status is None:
            return error | {"message": "the worker process ended, and nobody was left to see how"}
        if self.status < 0:
            name = _signal_name(-self.status)
            return error | {"message": f"the worker process was ended by {name}", "signal": name}
        return error | {
            "message": f"the worker process exited with status {self.status}",
            "exit_code": self.status,
        }


@dataclass(slots=True)
class _Given:
    """A chunk that the worker has."""

    chunk: Chunk
    next: int
    """First index without an outcome."""
    limit: int
    """Which of the two limit words is this chunk's."""
    began_at: float | None = None
    recall_deadline: float | None = None


class Slot:
    """A worker's place in the pool; times are monotonic seconds."""

    def __init__(self, worker_id: int, marks: Marks, listener: Listener, *, now: float) -> None:
        self.id = worker_id
        self.pid: int | None = None
        self.items_done = 0
        self.kill_reason: Reason | None = None
        self._marks = marks
        self._listener = listener
        self._given: deque[_Given] = deque()
        self._turn = 0
        self._seen_mark = 0
        self._seen_at = now
        self._condemned: int | None = None
        """The mark for which the worker is to be killed."""
        self._last_end = now

    @property
    def chunks(self) -> int:
        """How many chunks the worker has."""
        return len(self._given)

    @property
    def leaving(self) -> bool:
        """Whether it has been, or is about to be, killed."""
        return self.kill_reason is not None

    @property
    def current(self) -> Chunk | None:
        return self._given[0].chunk if self._given else None

    @property
    def item(self) -> int | None:
        """The index of the item that runs."""
        if not self._given:
            return None
        current = self._given[0]
        position = _position(current, self._marks.mark.value)
        return None if position is None else current.chunk.first + position

    @property
    def only_short(self) -> bool:
        """Whether what it has will be done within milliseconds."""
        return all(given.chunk.short for given in self._given)

    def give(self, chunk: Chunk, now: float) -> Frame:
        """The frame that hands the worker a chunk."""
        self._turn ^= 1
        self._marks.limits[self._turn].value = NO_LIMIT
        given = _Given(chunk, chunk.first, self._turn)
        if not self._given:
            given.began_at = self._seen_at = now
        self._given.append(given)
        order = {
            "task": chunk.task,
            "params": chunk.params.decode(),
            "attempt": chunk.attempt,
            "max_attempts": chunk.max_attempts,
            "key_field": chunk.key_field,
            "limit": self._turn,
        }
        body = json.dumps(order).encode() + b"\n" + chunk.lines
        return Frame(Kind.CHUNK, body, chunk.id, chunk.first, chunk.count)

    def received(self, frame: Frame, now: float) -> None:
        """The worker reports.  Frames come in the order of its items."""
        given = self._given[0]
        chunk_id = given.chunk.id
        match frame.kind:
            case Kind.PART:
                given.next = frame.first + frame.count
                self.items_done += frame.count
                header, _, lines = frame.body.partition(b"\n")
                files = json.loads(header) if header else ()
                self._listener.part(chunk_id, frame.first, frame.count, frame.failed, lines, files)
            case Kind.UNLUCKY:
                given.next = frame.first + 1
                self._listener.unlucky(chunk_id, frame.first, json.loads(frame.body))
            case Kind.DONE:
                self._given.popleft()
                began = max(given.began_at or 0.0, self._last_end)
                self._last_end = self._seen_at = now
                if self._given:
                    self._given[0].began_at = now
                self._listener.ended(chunk_id, given.next, now - began)
            case _:
                raise AssertionError(f"a worker does not send {frame.kind.name}")

    def recall(self, chunk_id: int, now: float, grace_seconds: float) -> bool:
        """Let the worker start no more of the chunk; whether it has it at all."""
        for given in self._given:
            if given.chunk.id == chunk_id:
                self._marks.limits[given.limit].value = 0
                given.recall_deadline = now + grace_seconds
                return True
        return False

    def overdue(self, now: float) -> Reason | None:
        """Why the worker should be killed now, if it should."""
        if not self._given or self.leaving:
            return None
        mark = self._marks.mark.value
        if mark != self._seen_mark or self._marks.sending.value:
            self._seen_mark = mark
            self._seen_at = now
        reason = self._reason(mark, now)
        if reason is not None:
            self._condemned = mark
        return reason

    def _reason(self, mark: int, now: float) -> Reason | None:
        # The worker may be ahead of what we have read: the item's own chunk counts, not the first we know of.
        marked = next((given for given in self._given if _position(given, mark) is not None), None)
        given = marked or self._given[0]
        if given.recall_deadline is not None and now >= given.recall_deadline:
            return Reason.CANCELLED
        limit = given.chunk.timeout_seconds
        if limit is None:
            return None
        if marked is None:
            limit = max(limit, START_SECONDS_MAX)
        return Reason.TIMEOUT if now - self._seen_at >= limit else None

    def died(self, exit_: Exit) -> None:
        """The process is gone: say what is left of each chunk, and who is to blame."""
        mark = self._marks.mark.value
        # An item that began after another was found to be overdue has nothing to do with the kill.
        blameless = self.kill_reason is Reason.STOPPED or self._condemned not in (None, mark)
        lost, self._given = self._given, deque()
        for given in lost:
            position = None if blameless else _position(given, mark)
            culprit = None if position is None else given.chunk.first + position
            if culprit is not None and culprit < given.next:
                culprit = None  # an item whose result arrived is not to blame for what came after it
            error = {} if culprit is None else self._error(given.chunk, exit_)
            self._listener.lost(given.chunk.id, given.next, culprit, error)

    def _error(self, chunk: Chunk, exit_: Exit) -> dict[str, Any]:
        if self.kill_reason is Reason.TIMEOUT:
            limit = f"{chunk.timeout_seconds:g} s"
            return {"kind": "timeout", "type": "TimeoutError", "message": f"took longer than {limit}"}
        if self.kill_reason is Reason.CANCELLED:
            return {"kind": "cancelled", "type": "Cancelled", "message": "the job was cancelled"}
        return exit_.describe()


def _position(given: _Given, mark: int) -> int | None:
    """Where in this chunk the marked item stands; None if it is not one of this chunk's."""
    chunk_id, position = Marks.read(mark)
    return position if chunk_id == given.chunk.id & 0xFFFFFFFF else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
