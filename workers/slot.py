"""One worker, as the pool sees it.

How it works: a slot is told what happened (a chunk was given, a frame came, time passed, the process ended) and
answers with what follows: calls on its listener, or a reason to kill.  It touches no socket, process or clock,
so every sequence of events can be tested.

Invariant: for each chunk given, each of its items is reported in exactly one of `part`, `unlucky`, `recalled`, or
as left over by `ended` or `lost`; and at most one item of a lost worker is to blame.
"""

from dataclasses import dataclass
from enum import Enum

import msgspec

from workers.contract import Chunk, Listener, Room
from workers.interrupt import Why
from workers.postmortem import BLAMELESS, Exit, Reason, error_of
from workers.wire import BLOCK_ITEMS, LEAVING, NO_LIMIT, WIRE_ID, Frame, Kind, Marks, ProtocolError

GRACE_SECONDS = 2.0
"""How long an item may go on after it was asked to end."""
DEAF_SECONDS = 0.25
"""A main thread that has not come back to Python by then is in C code, and will not clean up."""
START_SECONDS_MAX = 10.0
"""A worker that has items and does not come to start one for this long is stuck by itself."""
LONG_SECONDS = 0.1
"""Chunks are meant to take half of this: what has not begun of one that takes longer goes back."""
LONG_ALONE_SECONDS = 0.6
"""The same of long ones, and of what waits after them."""
HELD_UP_SECONDS = 0.02
"""What waits behind a chunk that was meant to take half of this, or could run on an idle worker, goes back."""
KILLED_FOR_ITS_ITEM = frozenset({Reason.TIMEOUT, Reason.CANCELLED})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Action(Enum):
    """What the pool should do to a worker now."""

    INTERRUPT = "send it the signal that raises in its task"
    KILL = "end its process group"


@dataclass(slots=True)
class _Given:
    """A chunk that the worker has."""

    chunk: Chunk
    next: int
    """First place without an outcome."""
    stop: int
    """Items from here on are not the worker's any more."""
    limit: int
    """Which of the two limit words is this chunk's."""
    began_at: float
    cancelled_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """An item that was asked to end."""

    mark: int
    reason: Reason
    at: float


class Slot:
    """A worker's place in the pool; times are monotonic seconds."""

    def __init__(self, worker_id: int, marks: Marks, listener: Listener, *, now: float) -> None:
        self.id = worker_id
        self.pid: int | None = None
        self.items_done = 0
        self.kill_reason: Reason | None = None
        self.alone = False
        """Whether what it runs should have all workers' memory for itself."""
        self._marks = marks
        self._listener = listener
        self._given: dict[int, _Given] = {}
        """In the order they were given, which is the order they run in; those of coroutines run side by side."""
        self._turn = 0
        self._seen_mark = 0
        self._seen_at = now
        self._last_end = now
        self._asked: _Asked | None = None
        self._overstaying: _Given | None = None
        self._late = False
        """Whether what runs takes longer than something should wait behind it."""
        self._held_back: int | None = None
        """The mark behind which nothing is to start."""

    @property
    def chunks(self) -> int:
        """How many chunks the worker has."""
        return len(self._given)

    @property
    def stillborn(self) -> bool:
        """Whether it has not come to an item yet, and nobody ends it."""
        return not (self.items_done or self._marks.mark.value or self.leaving)

    @property
    def leaving(self) -> bool:
        """Whether it has been, or is about to be, ended."""
        return self.kill_reason is not None

    @property
    def current(self) -> Chunk | None:
        """The chunk that runs; of coroutines, the one that was given first."""
        given = self._first()
        return given.chunk if given else None

    @property
    def item(self) -> int | None:
        """The index of the item that runs."""
        running = self._running(self._marks.mark.value)
        return running[0].chunk.index(running[1]) if running else None

    @property
    def only_cancelled(self) -> bool:
        """Whether all that it runs is to end."""
        first = self._first()
        running = [given for given in self._given.values() if given is first or given.chunk.concurrency > 1]
        return bool(running) and all(given.cancelled_at is not None for given in running)

    @property
    def calm(self) -> bool:
        """Whether what it has may take as long as it likes, and nothing waits behind what was meant to be short."""
        first, chunks = self._first(), [given.chunk for given in self._given.values()]
        if self.kill_reason is not None or first is None or (len(chunks) > 1 and not first.chunk.long):
            return False
        unlimited = all(chunk.timeout_seconds is None and chunk.concurrency == 1 for chunk in chunks)
        return unlimited and all(given.cancelled_at is None for given in self._given.values())

    @property
    def seen_at(self) -> float:
        """When the item that runs began, as far as the pool has looked."""
        return self._seen_at

    def chunk_ids(self) -> list[int]:
        return list(self._given)

    def room(self, concurrency: int) -> Room:
        """What room there is for a chunk of a task whose items run `concurrency` side by side."""
        if self.kill_reason is not None:
            return "none"
        if not self._given:
            return "idle"
        if concurrency > 1:
            side_by_side = all(given.chunk.concurrency > 1 for given in self._given.values())
            return "idle" if side_by_side and len(self._given) < concurrency else "none"
        if len(self._given) > 1 or self._late:
            return "none"
        [given] = self._given.values()
        if given.chunk.concurrency > 1:
            return "none"
        return "behind" if given.chunk.short else "after" if given.chunk.long else "none"

    def give(self, chunk: Chunk, now: float) -> Frame:
        """The frame that hands the worker a chunk."""
        self._turn += 1
        limit = self._turn % 2
        self._marks.limits[limit].value = NO_LIMIT
        if not self._given:
            self._seen_at = now
        self.alone = self.alone or chunk.alone
        self._given[chunk.id] = _Given(chunk, chunk.first, chunk.first + chunk.count, limit, now)
        order = {
            "task": chunk.task,
            "params": msgspec.Raw(chunk.params),
            "attempt": chunk.attempt,
            "max_attempts": chunk.max_attempts,
            "key_field": chunk.key_field,
            "timeout_seconds": chunk.timeout_seconds,
            "limit": limit,
            "light": chunk.light,
            "long": chunk.long,
            "check": chunk.check,
            "ranges": chunk.ranges,
        }
        return Frame(Kind.CHUNK, chunk.lines, chunk.id, chunk.first, chunk.count, head=_encode(order))

    def received(self, frame: Frame, now: float) -> None:
        """The worker reports.  ProtocolError if it has no such chunk."""
        given = self._given.get(frame.chunk_id) or self._of_wire_id(frame.chunk_id)
        if given is None:
            raise ProtocolError("a report of a chunk that this worker does not have")
        chunk_id = given.chunk.id
        match frame.kind:
            case Kind.PART:
                given.next = frame.first + frame.count
                self.items_done += frame.count
                told = bytes(frame.body), _decode(frame.head) if frame.head else ()
                self._listener.part(chunk_id, frame.first, frame.count, frame.failed, *told)
            case Kind.DONE:
                self._done(given, frame, now)
            case Kind.UNLUCKY:
                given.next = frame.first + 1
                self._listener.unlucky(chunk_id, frame.first, _decode(frame.body))
            case Kind.LOG:
                self._listener.printed(chunk_id, frame.first, frame.body.decode())
            case Kind.PROGRESS:
                share, message = _decode(frame.body)
                self._listener.progress(chunk_id, frame.first, share, message)
            case _:
                raise ProtocolError(f"a worker does not send {frame.kind.name}")

    def _of_wire_id(self, wire_id: int) -> _Given | None:
        """The chunk whose id ends in this: not all of an id travels."""
        return next((given for given in self._given.values() if given.chunk.id & WIRE_ID == wire_id), None)

    def _done(self, given: _Given, frame: Frame, now: float) -> None:
        del self._given[given.chunk.id]
        self.alone = self.alone and any(other.chunk.alone for other in self._given.values())
        self._last_end = self._seen_at = now
        self._late, self._held_back = False, None
        if frame.body == LEAVING:
            self.kill_reason = Reason.RETIRED
        self._listener.ended(given.chunk.id, given.next, frame.took_seconds)

    def taken(self, chunk_id: int, now: float) -> float:
        """How many seconds the worker has been at the chunk, which it has; 0 while it waits behind another."""
        given = self._given[chunk_id]
        waits = given.chunk.concurrency == 1 and given is not self._first()
        return 0.0 if waits else now - self._began(given)

    def recall(self, chunk_id: int) -> None:
        """Let the worker start no more of the chunk."""
        if given := self._given.get(chunk_id):
            self._marks.limits[given.limit].value = 0

    def hold_back(self, now: float, *, idle: bool) -> bool:
        """Let nothing start behind the item that runs, if the chunk takes longer than it was meant to.

        `idle` tells whether another worker has nothing to do.  If so, `take_back` is to follow, no sooner than
        what was written here has reached every processor.
        """
        mark = self._marks.mark.value
        first, running = self._first(), self._running(mark)
        if first is None or running is None or running[0] is not first or first.chunk.concurrency > 1:
            return False
        took = now - self._began(first)
        if took < HELD_UP_SECONDS:
            return False
        long, behind = first.chunk.long, len(self._given) > 1
        overdue = took >= (LONG_ALONE_SECONDS if long else LONG_SECONDS)
        self._late = overdue or not long
        due = idle or overdue or (behind and not long)
        waits = behind or running[1] + 1 < first.stop
        if self._held_back is not None or self.leaving or not (due and waits):
            return False
        self._held_back = mark
        for chunk_id in self._given:
            self.recall(chunk_id)
        return True

    def take_back(self) -> None:
        """What was held back is with this worker no more, if the same item still runs.

        If not, the worker has come to the limit, and says itself where it stopped.
        """
        mark = self._marks.mark.value
        running = self._running(mark)
        if running is None or mark != self._held_back:
            return
        begun = BLOCK_ITEMS if running[0].chunk.light else 1
        for given in self._given.values():
            stop = running[1] + begun if given is running[0] else given.chunk.first
            if stop < given.stop:
                given.stop = stop
                self._listener.recalled(given.chunk.id, stop)

    def cancel(self, chunk_id: int, now: float) -> Frame | None:
        """Recall the chunk and have what runs of it end; the frame to send, if it has the chunk."""
        given = self._given.get(chunk_id)
        if given is None:
            return None
        self.recall(chunk_id)
        if given.cancelled_at is None:
            given.cancelled_at = now
        return Frame(Kind.CANCEL, b"", chunk_id)

    def retire(self) -> None:
        """The worker will be ended once the item it runs is done."""
        self.kill_reason = Reason.RETIRED
        for chunk_id in self._given:
            self.recall(chunk_id)

    def kill(self, reason: Reason) -> None:
        """The pool ends the worker."""
        self.kill_reason = reason

    def watch(self, now: float) -> Action | None:
        """What the time demands of the pool."""
        if not self._given or (self.leaving and self.kill_reason is not Reason.RETIRED):
            return None
        mark = self._marks.mark.value
        sending = bool(self._marks.sending.value)
        if mark != self._seen_mark or sending:
            self._seen_mark, self._seen_at, self._asked = mark, now, None
        if sending:
            return None
        if self._asked is not None:
            return self._insist(self._asked, now)
        if (running := self._running(mark)) is not None:
            given, _ = running
            if given.cancelled_at is not None:
                return self._ask(mark, Reason.CANCELLED, Why.CANCELLED, now)
            limit = given.chunk.timeout_seconds
            if limit is not None and now - self._seen_at >= limit:
                return self._ask(mark, Reason.TIMEOUT, Why.TIMEOUT, now)
        elif now - self._seen_at >= START_SECONDS_MAX and all(
            g.chunk.concurrency == 1 for g in self._given.values()
        ):
            # A thread that an item left behind may hold the interpreter for ever.
            self.kill_reason = Reason.STUCK
            return Action.KILL
        return self._overstayed(now)

    def died(self, exit_: Exit) -> None:
        """The process is gone: say what is left of each chunk, and who is to blame."""
        guilty = self._guilty()
        lost, self._given = self._given, {}
        for given in lost.values():
            # Of those that share a mark nobody can say which it was: they will run again, one by one.
            known = guilty is not None and guilty[0] is given and not given.chunk.light
            culprit = guilty[1] if guilty and known else None
            error = {}
            if culprit is not None:
                error = error_of(exit_, self.kill_reason, self.pid, given.chunk.timeout_seconds)
            self._listener.lost(given.chunk.id, given.next, culprit, error)

    def _guilty(self) -> tuple[_Given, int] | None:
        """The chunk and the place of the item that is to blame for the worker's end, if one is."""
        if self.kill_reason in BLAMELESS:
            return None
        if (given := self._overstaying) is not None:
            return (given, given.next) if given.next < given.stop else None
        if self.kill_reason in KILLED_FOR_ITS_ITEM and (
            self._asked is None or self._asked.mark != self._marks.mark.value
        ):
            return None  # the item that was meant ended after all, while its death was on the way
        running = self._running(self._marks.mark.value)
        # An item whose result arrived is not to blame for what came after it.
        return running if running and running[1] >= running[0].next else None

    def _first(self) -> _Given | None:
        return next(iter(self._given.values()), None)

    def _began(self, given: _Given) -> float:
        """A chunk that waited behind another began when that ended; one of coroutines began when it came."""
        return given.began_at if given.chunk.concurrency > 1 else max(given.began_at, self._last_end)

    def _running(self, mark: int) -> tuple[_Given, int] | None:
        """The chunk and the place of the item with this mark."""
        chunk_id, position = Marks.read(mark)
        if position is None:
            return None
        for given in self._given.values():
            if given.chunk.id & WIRE_ID == chunk_id:
                return given, given.chunk.first + position
        return None

    def _ask(self, mark: int, reason: Reason, why: Why, now: float) -> Action:
        """Interrupt the item, kindly at first."""
        self._asked = _Asked(mark, reason, now)
        self._marks.why.value = why
        self._marks.meant.value = mark
        return Action.INTERRUPT

    def _insist(self, asked: _Asked, now: float) -> Action | None:
        """It was asked, and is still there."""
        deaf = self._marks.heard.value != asked.mark and now - asked.at >= DEAF_SECONDS
        if deaf or now - asked.at >= GRACE_SECONDS:
            self.kill_reason = asked.reason
            return Action.KILL
        return None

    def _overstayed(self, now: float) -> Action | None:
        """A cancelled chunk, or a coroutine past its limit, that waits for something and will not end."""
        first = self._first()
        for given in self._given.values():
            limit = given.chunk.timeout_seconds if given.chunk.concurrency > 1 else None
            if given.chunk.concurrency == 1 and given is not first:
                continue  # it waits behind another, which is not to suffer for that
            if given.cancelled_at is not None and now - given.cancelled_at >= GRACE_SECONDS:
                self.kill_reason = Reason.CANCELLED
            elif limit is not None and now - given.began_at >= limit + GRACE_SECONDS:
                self.kill_reason = Reason.TIMEOUT
            else:
                continue
            self._overstaying = given
            return Action.KILL
        return None
