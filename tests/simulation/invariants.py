"""What must be true at every step, whatever happens."""

from collections.abc import Sequence
from typing import Any

import msgspec

from app.domain.item import Segment, View
from app.domain.job import Job, Status
from app.service.view import JobView
from app.stores.memory import MemoryStore
from tests.simulation.fate import Item, outcome


class Violation(AssertionError):
    """An invariant does not hold."""


def hold(condition: object, invariant: str, *details: object) -> None:
    if not condition:
        raise Violation(f"{invariant}: {' '.join(map(str, details))}")


class Watch:
    """Looks at every write before and after it happens."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._before: dict[str, Job] = {}

    def before_write(self, name: str, arguments: Sequence[Any]) -> None:
        """A finished job never changes; no item gets a second result."""
        self._before = {job.id: job for job in self._store.jobs()}
        if name == "save_job":
            self._check_job(arguments[0])
        if name == "append_results":
            segments, jobs = arguments[0], arguments[1]
            for segment in segments:
                self._check_segment(segment)
            for job in jobs:
                self._check_job(job)

    def after_write(self) -> None:
        """The counts of every job are what its log holds, and sum to its total; what is gone had finished."""
        jobs = self._store.jobs()
        for job_id in self._before.keys() - {job.id for job in jobs}:
            hold(self._before[job_id].status.finished, "no accepted job is lost", self._before[job_id])
        for job in jobs:
            log = self._store.log(job.id)
            done, failed = sum(s.count for s in log), sum(s.failed for s in log)
            hold(
                (job.counts.done, job.counts.failed) == (done, failed),
                "counts are what the log holds",
                job,
                done,
            )
            check_counts(job, job.counts.queued)
            done = failed = 0
            for segment in log:
                place = (segment.done_before, segment.failed_before)
                hold(place == (done, failed), "a segment says where it stands", segment, done, failed)
                done, failed = done + segment.count, failed + segment.failed

    def _check_job(self, job: Job) -> None:
        stored = self._before.get(job.id)
        if stored is not None and stored.status.finished:
            hold(job == stored, "a finished job never changes", stored, job)

    def _check_segment(self, segment: Segment) -> None:
        stored = self._before.get(segment.job_id)
        hold(stored is not None, "results are of jobs that are there", segment)
        assert stored is not None
        hold(not stored.status.finished, "a finished job gets no result", segment)
        stop = segment.first + segment.count
        for other in self._store.log(segment.job_id):
            apart = stop <= other.first or other.first + other.count <= segment.first
            hold(apart, "an item has one result", segment, other)


def check_counts(job: Job, queued: int) -> None:
    """The five counts sum to the total; nothing of a finished job is left."""
    counts = job.counts
    found = (queued, counts.running, counts.succeeded, counts.failed, counts.cancelled)
    hold(min(found) >= 0 and sum(found) == counts.total, "counts sum to total", job.id, found)
    hold(job.started_at is not None or counts.done == 0, "what has results was started", job)
    if job.status.finished:
        hold(queued == counts.running == 0, "nothing of a finished job is left", job.id, found)
        hold(job.ended_at is not None and job.expires_at is not None, "a finished job says when", job)
        assert job.ended_at is not None
        hold(job.created_at <= (job.started_at or job.created_at) <= job.ended_at, "times are in order", job)
    if job.status is Status.COMPLETED:
        hold(counts.cancelled == 0, "a completed job has every result", job)


def check_view(view: JobView, log: Sequence[Segment]) -> None:
    """What a caller is told of a job at any moment, and what is in its log by then."""
    done, failed = sum(segment.count for segment in log), sum(segment.failed for segment in log)
    hold(view.counts.done <= done and view.counts.failed <= failed, "what is told is stored", view, done)
    counts = view.counts
    found = (counts.queued, counts.running, counts.succeeded, counts.failed, counts.cancelled)
    hold(min(found) >= 0 and sum(found) == counts.total, "counts sum to total", view.job.id, found)


def check_results(
    lines: Sequence[bytes], items: Sequence[Item], max_attempts: int, job: Job, *, whole: bool
) -> None:
    """Each result is the one that its item must come to; the whole log of a completed job has one of each."""
    seen: set[int] = set()
    for line in lines:
        result = msgspec.json.decode(line)
        index = result["index"]
        hold(index not in seen, "an item has one result", job.id, index)
        seen.add(index)
        due = outcome(items[index], max_attempts)
        kind = result["error"]["kind"] if "error" in result else None
        hold(
            (result.get("output"), kind) == (due.output, due.kind),
            "a result is what is due",
            items[index],
            line,
        )
        hold(result.get("attempts", 1) == due.attempts, "attempts are counted", items[index], line, due)
    if whole and job.status is Status.COMPLETED:
        hold(len(seen) == len(items), "a completed job has every result", job.id, len(seen), len(items))


class Prefixes:
    """What readers were given of each view: it never changes, and goes on where it ended."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, View], list[bytes]] = {}

    def check(self, job_id: str, view: View, after: int, page: Sequence[bytes]) -> None:
        """A cursor neither skips nor repeats, and a line that was read once is read again."""
        known = self._lines.setdefault((job_id, view), [])
        hold(after <= len(known), "a reader goes on where it ended", job_id, view, after)
        for place, line in enumerate(page, start=after):
            if place < len(known):
                hold(known[place] == line, "a view never changes what it showed", job_id, view, place)
            else:
                known.append(line)

    def of(self, job_id: str, view: View) -> Sequence[bytes]:
        return self._lines.get((job_id, view), [])

    def forget(self, job_id: str) -> None:
        for key in [key for key in self._lines if key[0] == job_id]:
            del self._lines[key]
