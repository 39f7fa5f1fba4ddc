"""A simulation that finds nothing proves nothing: each of these mistakes is made on purpose, and found."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain import item, retry
from app.service import dispatcher, jobs, live, resuming, writer
from app.stores.memory import MemoryStore
from tests.simulation.callers import Caller
from tests.simulation.invariants import Violation
from tests.simulation.test_stories import SEEDS
from tests.simulation.world import World

SOONEST = {
    "items before the one that killed its worker are forgotten": 131,
    "items of a chunk that was recalled run again": 8,
}
"""Which seed finds a mistake that few do, or most only after a second: it is tried first, then all others."""


Patch = Callable[[pytest.MonkeyPatch], None]
MISTAKES: dict[str, Patch] = {}


def mistake(break_it: Patch) -> Patch:
    MISTAKES[break_it.__name__.replace("_", " ")] = break_it
    return break_it


@mistake
def results_that_cannot_be_stored_are_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writer._Batch, "followed_by", lambda batch, later: later)


@mistake
def results_that_cannot_be_stored_are_put_behind_later_ones(patch: pytest.MonkeyPatch) -> None:
    real = writer._Batch.followed_by
    patch.setattr(writer._Batch, "followed_by", lambda batch, later: real(later, batch))


@mistake
def counts_are_told_before_they_are_stored(patch: pytest.MonkeyPatch) -> None:
    real = live.LiveJob.log

    def log(self: live.LiveJob, *arguments: Any) -> Any:
        segment = real(self, *arguments)
        counts = replace(self.job.counts, succeeded=self.job.counts.succeeded + segment.count)
        self.job = replace(self.job, counts=counts)
        return segment

    patch.setattr(live.LiveJob, "log", log)


@mistake
def items_before_the_one_that_killed_its_worker_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = dispatcher.Dispatcher.lost

    def lost(self: Any, chunk_id: int, first: int, culprit: int | None, error: Any) -> None:
        real(self, chunk_id, first if culprit is None else culprit, culprit, error)

    patch.setattr(dispatcher.Dispatcher, "lost", lost)


@mistake
def items_of_a_chunk_that_was_recalled_run_again(patch: pytest.MonkeyPatch) -> None:
    real = dispatcher.Dispatcher.ended
    patch.setattr(
        dispatcher.Dispatcher,
        "ended",
        lambda self, chunk_id, stop, seconds: real(
            self, chunk_id, max(stop - 1, self.chunks[chunk_id].chunks[chunk_id].first), seconds
        ),
    )


@mistake
def items_that_were_taken_back_are_counted_as_still_there(patch: pytest.MonkeyPatch) -> None:
    real = live.LiveJob.take_back

    def take_back(self: live.LiveJob, chunk: Any, stop: int) -> int:
        count = real(self, chunk, stop)
        self.chunks[chunk.id] = chunk
        return count

    patch.setattr(live.LiveJob, "take_back", take_back)


@mistake
def a_restart_begins_every_job_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resuming, "holes", lambda total, done: [(0, total)])


@mistake
def a_restart_skips_an_item(patch: pytest.MonkeyPatch) -> None:
    def holes(total: int, done: Any) -> list[tuple[int, int]]:
        return [(first + 1, stop) for first, stop in item.holes(total, done)]

    patch.setattr(resuming, "holes", holes)


@mistake
def a_cancellation_counts_items_that_have_results(patch: pytest.MonkeyPatch) -> None:
    real = dispatcher.Dispatcher.part

    def part(self: Any, chunk_id: int, first: int, count: int, *rest: Any) -> None:
        real(self, chunk_id, first, count, *rest)
        self.chunks[chunk_id].out += count

    patch.setattr(dispatcher.Dispatcher, "part", part)


@mistake
def a_job_that_runs_is_not_called_started(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dispatcher.Dispatcher, "_started", lambda *_: None)


@mistake
def deaths_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dispatcher, "runs_again", lambda attempts, _, most: retry.runs_again(attempts, 0, most))


@mistake
def a_cancellation_is_undone_by_what_is_stored_meanwhile(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writer, "_merged", lambda now, stored: stored)


@mistake
def a_cancellation_is_answered_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    async def written(*_: Any) -> None:
        return None

    patch.setattr(writer.Writer, "written", written)


@mistake
def a_job_ends_while_items_of_it_run(patch: pytest.MonkeyPatch) -> None:
    real = live.LiveJob.after

    def after(self: live.LiveJob, segments: Any, now: Any) -> Any:
        chunks, self.chunks = self.chunks, {}
        try:
            return real(self, segments, now)
        finally:
            self.chunks = chunks

    patch.setattr(live.LiveJob, "after", after)


@mistake
def a_job_runs_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    real = jobs.Jobs._job

    def job(self: Any, *arguments: Any) -> Any:
        made = real(self, *arguments)
        self._run(made, ())
        return made

    patch.setattr(jobs.Jobs, "_job", job)


@mistake
def an_upload_that_breaks_stays(patch: pytest.MonkeyPatch) -> None:
    async def discard(*_: Any) -> None:
        return None

    patch.setattr(MemoryStore, "discard_upload", discard)


@mistake
def the_same_submission_makes_another_job(patch: pytest.MonkeyPatch) -> None:
    async def earlier(*_: Any) -> None:
        return None

    patch.setattr(jobs.Jobs, "earlier", earlier)


@mistake
def an_unfinished_job_expires(patch: pytest.MonkeyPatch) -> None:
    real = jobs.Jobs._job
    patch.setattr(jobs.Jobs, "_job", lambda self, *a: replace(real(self, *a), expires_at=self._clock.now()))


@mistake
def a_reader_misses_the_last_line_of_a_page(patch: pytest.MonkeyPatch) -> None:
    real = jobs.Jobs.results

    async def results(self: Any, job_id: str, view: Any, after: int, *limits: int) -> Any:
        return await real(self, job_id, view, after + (1 if after else 0), *limits)

    patch.setattr(jobs.Jobs, "results", results)


@mistake
def the_wall_clock_may_order_what_happens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live, "max", lambda now, _: now, raising=False)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By the seeds whose stories every test run tells."""
    MISTAKES[name](monkeypatch)

    assert any(_is_found(seed) for seed in (SOONEST.get(name, 0), *range(SEEDS)))


def _is_found(seed: int) -> bool:
    try:
        World(seed).run()
    except Exception:  # an invariant, or an assertion in the code itself, or an answer that nobody expected
        return True
    return False


def test_a_story_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever always has something to do is not waited for until the test has taken too long."""

    async def run(*_: Any) -> None:
        while True:  # noqa: ASYNC110 -- it waits for nothing, for ever
            await asyncio.sleep(0)

    monkeypatch.setattr(Caller, "run", run)

    with pytest.raises(Violation, match="a life has an end"):
        World(0).run()
