"""What the viewers of a running job are sent, made once for all of them.

How it works: connections with the same view of a job share a board.  Its head is a cursor, which starts at the end of
the log.  At each turn, one in `BATCH_SECONDS`, what the log has after the head is encoded as one batch, and the head
moves to the log's end.  A viewer whose cursor is where a batch begins takes those bytes as they are.  Any other viewer
reads the log by itself as far as the head, and is one of the crowd from there on.  A turn is made when somebody waits
for it: the crowd goes at the pace of its fastest, and whoever lags finds the last batches here and older lines in the
log.  For a view in the order of items nobody has counted the lines, so it has no head: each viewer reads.

Invariant: a batch is the view's lines between its two cursors, whoever reads it, and never those of another job that
came to have the same id.
Invariant: what is here is the same for all who see the job; a ticket, which is one caller's, is not.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import msgspec

from app.api.schemas import counts_document, job_document, progress
from app.api.streaming import HEARTBEAT_SECONDS, LINES_MAX, PIECE_BYTES, Piece, Unfinished
from app.domain.clock import Clock
from app.domain.item import Page, View, cut
from app.service.feed import Bell
from app.service.jobs import Jobs
from app.service.live import LiveJob
from app.service.recent import Room
from app.service.view import JobView

PROGRESS_SECONDS = 0.5
BATCH_SECONDS = 0.2
BATCH_BYTES_MAX = 64 << 10
EVENT_LINES_MAX = 250
WOKEN_MAX = 50
"""Viewers, in one pass of the loop; each takes some 20 µs of it."""
BOARD_BYTES_MAX = 1 << 20
ALL_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """The lines of a view from cursor `start` to `end`, as events."""

    start: int
    end: int
    events: Sequence[Piece]
    """In pieces; the bytes of a large line are those of its page."""

    @classmethod
    def of(cls, page: Page) -> Self:
        """An event for each `EVENT_LINES_MAX` lines.  A page that is larger than it should be is a single line."""
        large = len(page.lines) > PIECE_BYTES
        parts: list[Piece] = []
        cursor, begin = page.after, 0
        while cursor < page.next_after:
            cursor = min(cursor + EVENT_LINES_MAX, page.next_after)
            end = cut(page.lines, begin, EVENT_LINES_MAX)
            parts.append(b'event: results\nid: %d\ndata: {"results":[' % cursor)
            parts.append(
                memoryview(page.lines)[begin : end - 1]
                if large
                else page.lines[begin : end - 1].replace(b"\n", b",")
            )
            parts.append(b"]}\n\n")
            begin = end
        return cls(page.after, page.next_after, parts if large else (b"".join(parts),))

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.events))


@dataclass(frozen=True)
class News:
    """How the job was at one moment."""

    view: JobView

    @cached_property
    def job(self) -> bytes:
        """The Job, without anybody's ticket."""
        return msgspec.json.encode(job_document(self.view))

    @cached_property
    def progress(self) -> bytes:
        return msgspec.json.encode(_progress_document(self.view))


class Boards:
    """Those that somebody looks at."""

    def __init__(self, jobs: Jobs, clock: Clock) -> None:
        """`jobs` as those have them who see all."""
        self._jobs = jobs
        self._clock = clock
        self._room = Room(ALL_BYTES_MAX)
        self._boards: dict[tuple[Bell, View | None], Board] = {}
        """By what only this job has, and what keeps nothing else of it in memory once it has finished."""

    def of(self, live: LiveJob, view: View | None) -> "Board":
        """The board of this view, or with None of the job's changes alone; whoever looks at it enters it."""
        key = live.bell, view
        if key not in self._boards:
            left = partial(self._boards.pop, key)
            self._boards[key] = Board(self._jobs, self._clock, live, view, self._room, left)
        return self._boards[key]


class Board:
    """One view of one job."""

    def __init__(
        self,
        jobs: Jobs,
        clock: Clock,
        live: LiveJob,
        view: View | None,
        room: Room,
        on_left: Callable[[], object],
    ) -> None:
        """`on_left` is called when the last viewer leaves."""
        self._jobs = jobs
        self._clock = clock
        self._live: LiveJob | None = live
        """None once it has finished: a viewer that does not read must not keep all of it in memory."""
        self._bell = live.bell
        self._view = view
        self._room = room
        self._on_left = on_left
        self._viewers = 0
        self._now = self.news = News(jobs.view(live))
        self.turns = 0
        self._turning: asyncio.Task[bool] | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        """For the turn that is being made."""
        self._due_at = self._progress_at = clock.monotonic()
        self._head = self._logged
        self._batches: dict[int, Batch] = {}
        """By their starts, in the order of the log; the last one ends at the head."""
        self._bytes = 0

    def __enter__(self) -> Self:
        self._viewers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._viewers -= 1
        if self._viewers == 0:
            self._on_left()
            if self._turning is not None:
                self._turning.cancel()
            while self._batches:
                self._drop_first()

    @property
    def over(self) -> bool:
        """Whether nothing more will come: a viewer for whom there is nothing now has everything."""
        return self._now.view.job.status.finished and self._head == self._logged

    async def after(self, cursor: int) -> Batch | None:
        """What follows after the cursor, as far as it is there.

        Unfinished, NotFound or Gone if the job has gone: what is under its id would be another one's.
        """
        if self._view is None:
            return None
        if self._counted and cursor >= self._head:
            return None
        if (known := self._batches.get(cursor)) is not None:
            return known
        batch = await self._read(self._view, cursor, self._head - cursor if self._counted else LINES_MAX)
        return batch if batch.end > cursor else None

    async def turn(self, seen: int) -> bool:
        """Return once there were more turns than `seen`; False if nothing was new for `HEARTBEAT_SECONDS`."""
        if self.turns != seen:
            return True
        if self._turning is None or self._turning.done():
            self._waiting = deque()
            self._turning = asyncio.ensure_future(self._turn())
            self._turning.add_done_callback(partial(_made, self._waiting))
        turning, woken = self._turning, asyncio.get_running_loop().create_future()
        self._waiting.append(woken)
        await woken
        return turning.result()

    @property
    def _counted(self) -> bool:
        """Whether it is known how many lines of the view there are, without reading them."""
        return self._view is not None and self._view.order == "completion"

    @property
    def _logged(self) -> int:
        """How many lines of the view are in the log; in the order of items not all of them may be told yet."""
        counts = self._now.view.counts
        return counts.failed if self._view is not None and self._view.outcome == "failed" else counts.done

    async def _turn(self) -> bool:
        quiet_at = self._clock.monotonic() + HEARTBEAT_SECONDS
        while True:
            await self._pause()
            rings = self._bell.rings
            if await self._look():
                self.turns += 1
                return True
            now = self._clock.monotonic()
            if now >= quiet_at or self._jobs.closing.is_set():
                return False
            changed = self._now.view.counts != self.news.view.counts
            until = min(quiet_at, self._progress_at) if changed else quiet_at
            await self._bell.wait(rings, max(0.01, until - now))

    async def _pause(self) -> None:
        """Let the time between two turns pass.  A new status does not wait for it."""
        while (left := self._due_at - self._clock.monotonic()) > 0:
            if self._live is None or self._live.job.status is not self.news.view.job.status:
                return
            if self._jobs.closing.is_set():
                return
            await self._bell.wait(self._bell.rings, left)

    async def _look(self) -> bool:
        """Whether there is anything new for the viewers."""
        now, before = self._clock.monotonic(), self._logged
        if self._live is not None:
            self._now = News(self._jobs.view(self._live))
            if self._now.view.job.status.finished:
                self._live = None
        new = self._worth_telling(now)
        if new:
            self.news, self._progress_at = self._now, now + PROGRESS_SECONDS
        if not self._counted:
            self._head = self._logged
            new = new or (self._view is not None and self._logged != before)
        elif self._head < self._logged:
            assert self._view is not None
            batch = await self._read(self._view, self._head, LINES_MAX)
            if batch.end > self._head:
                self._head = batch.end
                self._keep(batch)
                new = True
        # Where a batch was full the next one follows at once.
        self._due_at = now + BATCH_SECONDS if self._head == self._logged else now
        return new

    def _worth_telling(self, now: float) -> bool:
        was, is_ = self.news.view, self._now.view
        return is_.job.status is not was.job.status or (is_.counts != was.counts and now >= self._progress_at)

    async def _read(self, view: View, after: int, lines_max: int) -> Batch:
        job = self._now.view.job
        page = await self._jobs.results(job.id, view, after, lines_max, BATCH_BYTES_MAX)
        live = self._jobs.live(job.id)
        if live is None or live.bell is not self._bell:
            there = (await self._jobs.get(job.id)).job
            if (there.created_at, there.submitted_by) != (job.created_at, job.submitted_by):
                raise Unfinished
        return Batch.of(page)

    def _keep(self, batch: Batch) -> None:
        """Keep the batch for those who come to it; older ones go where there is no room for it."""
        size = batch.size_bytes
        while self._batches and (self._bytes + size > BOARD_BYTES_MAX or size > self._room.bytes_left):
            self._drop_first()
        if size <= min(self._room.bytes_left, BOARD_BYTES_MAX):
            self._batches[batch.start] = batch
            self._bytes += size
            self._room.bytes_left -= size

    def _drop_first(self) -> None:
        size = self._batches.pop(next(iter(self._batches))).size_bytes
        self._bytes -= size
        self._room.bytes_left += size


def _made(waiting: deque[asyncio.Future[None]], turn: asyncio.Task[bool]) -> None:
    """The turn is made, or has failed, which those who wait are told; nobody else is, if they have all left."""
    if not turn.cancelled():
        turn.exception()
    _wake(waiting)


def _wake(waiting: deque[asyncio.Future[None]]) -> None:
    """Wake who waits, some at a time: the loop has workers to serve, too."""
    for _ in range(min(len(waiting), WOKEN_MAX)):
        woken = waiting.popleft()
        if not woken.done():
            woken.set_result(None)
    if waiting:
        asyncio.get_running_loop().call_soon(_wake, waiting)


def event(name: str, cursor: int, data: bytes) -> bytes:
    """One server-sent event; its `id` is the cursor after it."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), cursor, data)


def _progress_document(view: JobView) -> dict[str, Any]:
    return {
        "status": view.job.status,
        "counts": counts_document(view),
        "progress": progress(view),
        "items_per_second": view.items_per_second and round(view.items_per_second, 1),
        "eta_seconds": view.eta_seconds and round(view.eta_seconds, 1),
    }
