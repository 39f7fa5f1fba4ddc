"""An unfinished job, in memory.

Invariant: every item is in exactly one place: waiting, with a worker, in the log, or dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from app.domain.apart import Range, cut_off, indexes, take_out, together
from app.domain.chunking import TARGET_SECONDS, Chunker
from app.domain.digest import Digest
from app.domain.engine import Chunk
from app.domain.eta import Rate
from app.domain.halt import too_many_failures
from app.domain.item import Segment, forget
from app.domain.job import Counts, Event, Job, Status, ended
from app.domain.patience import Patience
from app.domain.retry import Trouble
from app.domain.suspicion import Suspects
from app.service.backlog import Backlog
from app.service.changes import Changes
from app.service.feed import Watched
from app.service.overlooked import overlooked
from app.service.recent import Recent
from app.service.release import release
from app.service.tally import Tally

LOG_CHARS_MAX = 4 << 20
"""Of what a job's successful items printed, so much is kept; of failed ones all, with their failures."""

SHARED_LIMIT_SECONDS_MIN = 0.1
"""Below this a time limit is told from the age of an item's own mark, not from that of a shared one."""


class LiveJob(Watched):
    """What there is to know of a job while it can still change.

    Python looks for garbage in nothing that it is made of (`overlooked`): there may be ten thousand.  What it has no
    use for yet is made when it is first used.
    """

    __slots__ = (
        "_backlog", "_began", "_changes", "_done_before", "_dropped", "_logged", "_logged_failed", "_patience",
        "_ranges", "again", "bytes_unwritten", "chunker", "chunks", "concurrency", "digest", "growing", "halt",
        "held", "job", "loading", "log_chars_left", "out", "place", "pool", "postponed", "progress", "rate",
        "recent", "resumed", "share", "suspects", "tally", "todo", "troubles", "unwritten",
        "virtual_time", "waiting",
    )  # fmt: skip

    again: deque[int]
    """Items that wait for another attempt, which is not the first for any of these, and for no other."""
    todo: deque[tuple[int, int]]
    """Ranges (first, stop) of items that wait, in the order they will run."""
    postponed: set[int]
    """Items that wait for their time to be tried again."""
    progress: dict[int, tuple[float, str]]
    """What items with a worker say of themselves: share, message."""
    troubles: dict[int, Trouble]
    chunks: dict[int, Chunk]
    """Those with a worker."""
    chunker: Chunker
    _patience: Patience
    suspects: Suspects
    rate: Rate
    recent: Recent
    digest: Digest | None
    """Of its log as it is stored; None if that is to be read first."""
    growing: asyncio.Lock
    """Held while items are added: until then it cannot end."""

    def __init__(
        self,
        job: Job,
        todo: Sequence[tuple[int, int]] | None,
        pool: str,
        concurrency: int,
        *,
        now: float,
        changes: Changes | None = None,
        tally: Tally | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        """`todo` are the ranges (first, stop) of items to run; None if `resume` will tell them.

        `changes` hears of everything that changes, its caller's `tally` of how many items wait, and `backlog` of how
        many results do.
        """
        super().__init__()
        self.job = job
        self.pool = pool
        self.concurrency = concurrency
        """How many of its items run side by side in one worker."""
        self._ranges = tuple(todo or ())
        """What `todo` is to be made of."""
        self.log_chars_left = LOG_CHARS_MAX
        self.held = False
        """Whether it cannot run for now, its task not being loaded."""
        self.halt: Event | None = None
        """Why it is being ended early."""
        self._changes = changes
        self._began = now
        self.share: float | None = None
        """Of its pool's worker time, when it was last given some."""
        self.virtual_time = 0.0
        self.place: int | None = None
        """Among those of the same virtual time, since when it last stepped aside; None if it was charged since."""
        self.loading = False
        self.out = 0
        """Items with a worker that have not been heard of."""
        if todo is None:
            self.digest = None
        self.unwritten = self.bytes_unwritten = 0
        """Segments that are on their way to the store; bytes of these and of what else is told of its items."""
        self._backlog = backlog or Backlog()
        self.resumed = todo is not None
        """Whether it is known which items wait."""
        counts = job.counts
        self.tally, self.waiting = tally or Tally(), 0
        """`waiting` are items that are not with a worker and have no result."""
        self._wait(counts.total - counts.done if todo is None else sum(stop - first for first, stop in todo))
        self._dropped = 0
        self._logged = self._done_before = counts.done
        self._logged_failed = counts.failed
        overlooked(self)

    if not TYPE_CHECKING:  # what is misspelt is to be found

        def __getattr__(self, name: str) -> Any:
            """What is not there yet: made now, to stay.  To find that out takes longer than to make it."""
            if name in _MADE_TOGETHER:
                self._begin()
                return getattr(self, name)
            if name not in _MADE_WHEN_USED:
                raise AttributeError(name)
            made = _MADE_WHEN_USED[name](self)
            setattr(self, name, made)
            return made

    def ring_end(self) -> None:
        """It has finished; nobody asks any more what befell its items."""
        release(self.troubles)
        super().ring_end()

    def _begin(self) -> None:
        """Make what every job needs that runs."""
        self.troubles, self.chunks, self.progress = {}, {}, {}
        self.chunker, self._patience = Chunker(self.job.options.chunksize), Patience()
        self.rate, self.recent = Rate.starting(self._began, self._done_before), Recent()

    def _begin_todo(self) -> deque[tuple[int, int]]:
        todo, self._ranges = overlooked(deque(self._ranges)), ()
        return todo

    def ring(self) -> None:
        """Something of it has changed."""
        if self._changes is not None:
            self._changes.note(self.job)
        super().ring()

    @property
    def counts(self) -> Counts:
        """What is true of the stored log; an item is with its worker until its result is stored."""
        stored = self.job.counts
        cancelled = stored.cancelled + self._dropped
        running = stored.total - stored.done - cancelled - self.waiting
        return Counts(stored.total, running, stored.succeeded, stored.failed, cancelled)

    @property
    def wants_worker(self) -> bool:
        in_flight = self.job.options.max_in_flight
        return (
            self.moving
            and bool(self._ranges or (self.waiting and not self.resumed) or self.todo or self._tries_again)
            and (in_flight is None or self.counts.running < in_flight)
            and not (self.loading or self._backlog.stops(self))
        )

    @property
    def moving(self) -> bool:
        """Whether nobody keeps its items from being run."""
        return self.halt is None and not self.held and self.job.status is not Status.PAUSED

    @property
    def idle(self) -> bool:
        """Nothing is with a worker or on its way to the store."""
        return not self._busy and not self.unwritten and not self._grows

    @property
    def _busy(self) -> bool:
        """Whether anything is with a worker; of a chunk that was taken back whole, only the word is."""
        return any(chunk.count for chunk in self.chunks.values())

    @property
    def _grows(self) -> bool:
        """Whether items are being added; once it is sealed, none are."""
        return not self.job.sealed and self.growing.locked()

    @property
    def eager(self) -> bool:
        """Whether something waits for its results to be stored: who asked, for the first one, or its own next items."""
        return not self.job.counts.done or self.job.options.max_in_flight is not None or self.at_its_end

    @property
    def at_its_end(self) -> bool:
        """It rests, and cannot go on; or could, being open, but somebody waits for what it has."""
        return self.resting and (self.job.sealed or self.awaited)

    @property
    def resting(self) -> bool:
        """Nothing is with a worker or waits for one."""
        return not self._busy and not self.waiting

    @property
    def over(self) -> bool:
        """Nothing more will run."""
        counts = self.job.counts
        return self.halt is not None or (self.job.sealed and counts.done == counts.total)

    @property
    def next_alone(self) -> bool:
        """Whether the next item is to run with nothing beside it."""
        return self._tries_again and self.troubles[self.again[0]].alone

    def resume(
        self, total: int, number: int, todo: Sequence[tuple[int, int]], troubles: dict[int, Trouble]
    ) -> None:
        """Of the first `total` items so many wait: these ranges, and those with troubles, each to run by itself.

        What befell those is not charged again.
        """
        if self.halt is not None:
            return
        assert number + self.job.counts.total - total == self.waiting, "counts are what the log says"
        self.todo, self.again, self.troubles = overlooked(deque(todo)), overlooked(deque(troubles)), troubles
        if total < self.job.counts.total:  # it has grown since
            self.todo.append((total, self.job.counts.total))
        self.resumed = True

    def _wait(self, more: int) -> None:
        self.waiting += more
        self.tally.items += more

    def _waits(self, more: int) -> bool:
        """So many more items wait, unless it is being ended: then they are dropped."""
        if self.halt is not None:
            self._dropped += more
            return False
        self._wait(more)
        return True

    def grow(self, count: int) -> None:
        """So many more items are stored, and wait."""
        first = self.job.counts.total
        self.job = replace(self.job, counts=replace(self.job.counts, total=first + count))
        if not self._waits(count):
            return
        if self.todo and self.todo[-1][1] == first:
            first, _ = self.todo.pop()
        if self.resumed:
            self.todo.append((first, self.job.counts.total))

    def next_items(
        self, workers: int, seconds: float = TARGET_SECONDS, usual_seconds: float | None = None
    ) -> tuple[int, int]:
        """(first index, how many) to send next, as `Chunker.size` has it, as far as these are `ahead`."""
        first = self.again[0] if self._tries_again else self.todo[0][0]
        count = 1
        if self.concurrency == 1:
            count = self.chunker.size(self.waiting, workers, seconds, usual_seconds)
        if (in_flight := self.job.options.max_in_flight) is not None:
            count = min(count, in_flight - self.counts.running)
        return first, count

    def ahead(self, block: Container[int], most: int) -> Iterable[Range]:
        """Ranges that may go together, of this block, which has the first; of what is tried again so many at most."""
        return together(self.again, self.troubles, block, most) if self._tries_again else self.todo

    def sent(self, chunk: Chunk) -> None:
        """The chunk, cut from what is `ahead`, is with a worker."""
        self.chunks[chunk.id] = chunk
        self.out += chunk.count
        self._wait(-chunk.count)
        ranges = chunk.among(chunk.first, chunk.stop)
        if self._tries_again:
            take_out(self.again, ranges)
        else:
            cut_off(self.todo, ranges)

    def take_back(self, chunk: Chunk, stop: int) -> int:
        """Items of the chunk from `stop` on will not start where they are: they wait again.  How many these are."""
        self.chunks[chunk.id] = replace(chunk, count=stop - chunk.first)
        self.give_back(chunk, stop, chunk.stop)
        return chunk.stop - stop

    def give_back(self, chunk: Chunk, first: int, stop: int) -> None:
        """Items of the chunk, at these places, that a worker did not come to wait again, in front."""
        self.out -= stop - first
        if first < stop and self._waits(stop - first):
            ranges = chunk.among(first, stop)
            if ranges[0][0] in self.troubles:
                self.again.extendleft(reversed([*indexes(ranges)]))
            else:
                self.todo.extendleft(reversed(ranges))

    def try_again(self, index: int) -> None:
        """The item waits for another attempt."""
        if self._waits(1):
            self.again.append(index)

    def postpone(self, index: int) -> None:
        """The item waits until `due`."""
        if self._waits(1):
            self.postponed.add(index)

    def due(self, index: int) -> None:
        """Its time has come; harmless if it was dropped meanwhile."""
        if index in self.postponed:
            self.postponed.remove(index)
            self.again.append(index)

    @property
    def _tries_again(self) -> bool:
        """Whether an item waits for another attempt; most jobs have none that ever did."""
        return bool(self.troubles and self.again)

    @property
    def timeout_seconds(self) -> float | None:
        """The time limit of the items sent now."""
        limit = self.job.options.item_timeout_seconds
        return self._patience.limit_seconds if limit == "auto" else limit

    def light(self, ranges: Sequence[Range]) -> bool:
        """Whether these items may share a mark."""
        limit = self.timeout_seconds
        exact = limit is None or limit >= SHARED_LIMIT_SECONDS_MIN
        return exact and self.chunker.light and not self.suspects.among(ranges)

    def took(self, count: int, seconds: float) -> None:
        """So many items took a worker this long."""
        self.chunker.report(count, seconds)
        self._patience.report(count, seconds)

    def trouble(self, index: int) -> Trouble:
        return self.troubles.setdefault(index, Trouble())

    def log(self, first: int, count: int, failed: int, lines: bytes) -> Segment:
        """The next segment of the job's log."""
        segment = Segment(self.job.id, first, count, failed, self._logged, self._logged_failed, lines)
        self._logged += count
        self._logged_failed += failed
        self.unwritten += 1
        forget(self.troubles, first, first + count)
        forget(self.progress, first, first + count)
        return segment

    @property
    def failing(self) -> bool:
        """Whether it has more failures than it tolerates."""
        return too_many_failures(self.job.options.max_failures, self._logged_failed, self._logged)

    def drop_waiting(self) -> None:
        """What waits will not run."""
        release(self.todo, self.again, self.postponed)
        self.todo, self.again, self.postponed = overlooked(deque()), overlooked(deque()), overlooked(set())
        self._dropped += self.waiting
        self._wait(-self.waiting)

    def after(self, segments: Sequence[Segment], now: datetime) -> Job:
        """The job as it is once these segments, its next, are stored."""
        now = max(now, self.job.started_at or self.job.created_at)  # the wall clock may have been put back
        job, counts = self.job, self.job.counts
        for segment in segments:
            counts = counts.after(segment.count, segment.failed)
        if job.sealed and counts.done == counts.total:
            # A cancelled job whose last items came in before the worker was stopped has nothing left to cancel,
            # but who asked was promised `cancelled`.
            event = Event.LET_GO if job.status is Status.CANCELLING else Event.ALL_DONE
        elif self.halt is not None and self.unwritten == len(segments) and not (self._busy or self._grows):
            event = Event.LET_GO if self.halt is Event.CANCEL_ASKED else self.halt
        else:
            return replace(job, counts=counts)
        return ended(job, event, counts, now)


_MADE_TOGETHER = frozenset({"_patience", "chunker", "chunks", "progress", "rate", "recent", "troubles"})
_MADE_WHEN_USED: Mapping[str, Callable[[LiveJob], Any]] = {
    "again": lambda _: overlooked(deque()),
    "growing": lambda _: asyncio.Lock(),
    "todo": LiveJob._begin_todo,
    "postponed": lambda _: overlooked(set()),
    "suspects": lambda _: Suspects(),
    "digest": lambda live: Digest(live.job.id),
}
