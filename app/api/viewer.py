"""One connection that is sent a job's events (HTML standard, section 9.2).

How it works: a viewer is a cursor, and the state of the job that it was last told.  While the job runs, it takes what
is on the board that it shares with others; once the job has finished, it reads the log.

Invariant: an event's `id` is the cursor after it, so a client that comes back with it misses and repeats nothing.
"""

import random
from collections.abc import AsyncIterator, Callable

from msgspec.structs import replace

from app.api.board import BATCH_BYTES_MAX, Batch, Board, Boards, News, event
from app.api.streaming import HEARTBEAT_SECONDS, LINES_MAX, Piece
from app.domain.clock import Clock
from app.domain.item import View
from app.service.jobs import Jobs
from app.service.view import JobView

RETRY_MS = 1_000


class Viewer:
    """A reader who has the lines of a view up to a cursor; without a view, one who only wants the job's changes."""

    def __init__(
        self,
        jobs: Jobs,
        boards: Boards,
        clock: Clock,
        job_id: str,
        view: View | None,
        cursor: int,
        make_ticket: Callable[[str], str] | None = None,
    ) -> None:
        """`jobs` as the caller has them."""
        self._jobs = jobs
        self._boards = boards
        self._clock = clock
        self._job_id = job_id
        self._view = view
        self._cursor = cursor
        self._make_ticket = make_ticket

    def final_cursor(self, view: JobView) -> int:
        """The cursor when everything was delivered."""
        return view.counts.failed if self._view and self._view.outcome == "failed" else view.counts.done

    def job_event(self, view: JobView, retry_ms: int) -> bytes:
        """How the job is now, and when to come back."""
        return b"retry: %d\n" % retry_ms + self._job_event("job", News(view))

    def events(self) -> AsyncIterator[Piece]:
        """Whole events, several of them at once, or a large one in pieces, up to the job's end or the service's."""
        live = self._jobs.live(self._job_id)
        if live is None:
            return self._replayed()
        return self._watched(self._boards.of(live, self._view), self._jobs.view(live))

    async def _replayed(self) -> AsyncIterator[Piece]:
        yield self.job_event(await self._jobs.get(self._job_id), RETRY_MS)
        while self._view is not None:
            page = await self._jobs.results(
                self._job_id, self._view, self._cursor, LINES_MAX, BATCH_BYTES_MAX
            )
            if not page.count:
                break
            self._cursor = page.next_after
            for piece in Batch.of(page).events:
                yield piece
        yield self._job_event("end", News(await self._jobs.get(self._job_id)))

    async def _watched(self, board: Board, shown: JobView) -> AsyncIterator[Piece]:
        with board:
            clock, news = self._clock, board.news
            yield self.job_event(shown, RETRY_MS)
            sent_at = clock.monotonic()
            while True:
                turns, over = board.turns, board.over
                if board.news is not news:
                    news = board.news
                    if told := self._told(shown, news):
                        yield told
                        shown, sent_at = news.view, clock.monotonic()
                if (batch := await board.after(self._cursor)) is not None:
                    self._cursor = batch.end
                    for piece in batch.events:
                        yield piece
                    sent_at = clock.monotonic()
                elif over:
                    yield self._job_event("end", board.news)
                    return
                elif self._jobs.closing.is_set():
                    # Everybody's server is gone at the same moment; let them not come back at the same one.
                    yield self.job_event(board.news.view, random.randint(1_000, 5_000))
                    return
                elif not await board.turn(turns) or clock.monotonic() - sent_at >= HEARTBEAT_SECONDS:
                    yield b": ping\n"
                    sent_at = clock.monotonic()

    def _told(self, shown: JobView, news: News) -> bytes | None:
        """What is new to who was shown that.  The end is not: it has its own event, after the last results."""
        view = news.view
        if view.job.status.finished:
            return None
        if view.job.status is not shown.job.status:
            return self._job_event("job", news)
        return event("progress", self._id(view), news.progress) if view.counts != shown.counts else None

    def _job_event(self, name: str, news: News) -> bytes:
        if self._make_ticket is not None:
            news = News(replace(news.view, ticket=self._make_ticket(self._job_id)))
        return event(name, self._id(news.view), news.job)

    def _id(self, view: JobView) -> int:
        return self._cursor if self._view is not None else view.counts.done
