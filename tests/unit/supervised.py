"""A worker of which everything is known: does what a real one does, a step at a time, and only when told to."""

from collections import deque
from dataclasses import dataclass, field

from app.domain.engine import Chunk
from workers.interrupt import Why
from workers.wire import Frame, Kind, Marks, ended


@dataclass
class Given:
    """A chunk on the worker's side."""

    chunk: Chunk
    limit: int
    position: int = 0
    """Of the item that was begun last, counted from 1."""
    cancelled: bool = False


class ModelWorker:
    """Runs its chunks one after the other, or those of coroutines side by side."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.queue: list[Given] = []
        self.pipe: deque[Frame] = deque()
        self.marked_at = 0.0
        """When the mark was written last."""
        self.leaving = False
        """Whether it starts no more, and says so with its next chunk's end."""
        self.seconds = 0.0
        """What it says that each chunk took."""
        self._left = False
        self._current: Given | None = None
        """The chunk whose item runs, or takes a step."""
        self._buffer: list[int] = []

    @property
    def running(self) -> bool:
        return self._current is not None

    @property
    def may_begin(self) -> bool:
        return bool(self.queue) and not self.running and not self._left

    @property
    def marked(self) -> tuple[int, int] | None:
        """(chunk id, index) of the item that is marked."""
        number, position = Marks.read(self.marks.mark.value)
        given = next((given for given in self.queue if given.chunk.id == number), None)
        return None if given is None or position is None else (number, given.chunk.first + position)

    def take(self, chunk: Chunk, limit: int) -> None:
        self.queue.append(Given(chunk, limit))

    def begin(self, which: int, now: float) -> None:
        """Begin the next item, or end the chunk if there is none or it was recalled; or let a coroutine step."""
        self.marks.sending.value = 0
        if self.queue[0].chunk.concurrency > 1:
            self._step(self.queue[which % len(self.queue)], now)
            return
        given = self.queue[0]
        if given.position < given.chunk.count and not given.cancelled and not self.leaving:
            self._mark(given, given.position + 1, now)
            if given.position + 1 <= self.marks.limits[given.limit].value:
                given.position += 1
                self._current = given
                return
            self._mark(given, 0, now)
        self.flush()
        self._end(given)

    def go_on(self, how: str) -> None:
        """The item that runs ends, says something, or (a coroutine) waits."""
        given = self._current
        assert given is not None
        index = given.chunk.first + given.position - 1
        side_by_side = given.chunk.concurrency > 1
        match how:
            case "progress":
                self.pipe.append(Frame(Kind.PROGRESS, b'[0.5,"half"]', given.chunk.id, index))
                return
            case "printing":
                self.pipe.append(Frame(Kind.LOG, b"text", given.chunk.id, index))
                return
            case "wait":
                if side_by_side:
                    self._leave()
                return
            case "unlucky":
                self.flush()
                self.pipe.append(Frame(Kind.UNLUCKY, b"{}", given.chunk.id, index))
            case "lucky":
                self._buffer.append(index)
        self._current = given if side_by_side else None
        if side_by_side:
            self._leave()
            self._report(given)
            self._end(given)

    def hear(self, obeys: bool) -> None:
        """The signal arrives: in the item that is meant it raises, which that may swallow."""
        self.marks.heard.value = self.marks.meant.value
        given = self._current
        if given is None or not obeys or self.marks.meant.value != self.marks.mark.value:
            return
        if self.marks.why.value == Why.TIMEOUT:
            self.go_on("unlucky")
            return
        if given.chunk.concurrency > 1:
            self._leave()
            self._end(given)
        else:
            self._current = None
            given.cancelled = True
            self.marks.mark.value = given.chunk.id << 32

    def flush(self) -> None:
        if self._buffer:
            self._report(self.queue[0])

    def _report(self, given: Given) -> None:
        if self._buffer:
            first, count = self._buffer[0], len(self._buffer)
            self.pipe.append(Frame(Kind.PART, b"", given.chunk.id, first, count))
            self._buffer = []

    def _step(self, given: Given, now: float) -> None:
        given.position = 1
        self._current = given
        self._mark(given, 1, now)

    def _leave(self) -> None:
        self._current = None
        self.marks.mark.value = 0

    def _mark(self, given: Given, position: int, now: float) -> None:
        self.marks.mark.value = (given.chunk.id << 32) + position
        self.marked_at = now

    def _end(self, given: Given) -> None:
        self.pipe.append(ended(given.chunk.id, self.seconds, leaving=self.leaving))
        self.queue.remove(given)
        self._left = self.leaving and given.chunk.concurrency == 1
        self.marks.mark.value = 0


@dataclass
class Account:
    """What the slot said of one chunk, and what is true of it."""

    chunk: Chunk
    given_at: float
    reported: list[int] = field(default_factory=list)
    over: bool = False
    cut_short: bool = False
    """Whether it may end before its last item: it was recalled, or its worker leaves."""
    stop: int = field(init=False)
    """Items from here on were taken back."""
    cancelled_at: float | None = None

    def __post_init__(self) -> None:
        self.stop = self.chunk.first + self.chunk.count
