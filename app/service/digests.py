"""A job's results in summary, for whoever asks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from app.domain.digest import SLOWEST_MAX, Digest, Digesting, Tally
from app.domain.item import Segment, View
from app.domain.store import JobStore
from app.service.jobs import Jobs

LOOKED_AT_MAX = 20_000
"""Of failures from before there were digests, so many are looked at when somebody asks."""
_PAGE_LINES = 1_000
_PAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ErrorsView:
    """A job's failures by group, most frequent first."""

    failed: int
    groups: Sequence[tuple[Tally, str | None]]
    """With the traceback of one failure."""
    others: int
    """Failures that are in none of the groups."""


@dataclass(frozen=True, slots=True)
class TimingsView:
    """How long a job's items took; times in milliseconds, None where that is less than 1 ms or nothing is known."""

    items: int
    """How many items this is of."""
    median_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    slowest: Sequence[tuple[float, int]]


class Digests:
    """Every call: NotFound or Gone if there is no such job among those given, also if it went meanwhile."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def errors(self, jobs: Jobs, job_id: str) -> ErrorsView:
        """The job's failures; of each group, one is read for its traceback."""
        digest, _, failed = await self._digest(jobs, job_id)
        if digest.failed_before:
            digest = await _looked_at(jobs, job_id)
        groups = [(tally, await self._traceback(job_id, tally)) for tally in digest.by_frequency]
        await jobs.get(job_id)
        return ErrorsView(failed, groups, max(0, failed - sum(tally.count for tally, _ in groups)))

    async def timings(self, jobs: Jobs, job_id: str) -> TimingsView:
        """How long the job's items took; those of before there were digests are left out."""
        digest, done, _ = await self._digest(jobs, job_id)
        timings, results = digest.timings, done - digest.done_before
        median, p95, p99 = (timings.quantile(share, results) for share in (0.5, 0.95, 0.99))
        return TimingsView(results - timings.untimed, median, p95, p99, timings.slowest[:SLOWEST_MAX])

    async def _digest(self, jobs: Jobs, job_id: str) -> tuple[Digest, int, int]:
        """The job's digest, and how many results and failures it is of."""
        live = jobs.live(job_id)
        if live is not None and live.digest is not None:
            counts = live.job.counts
            return live.digest, counts.done, counts.failed
        digest = await self._store.read_digest(job_id) or Digest(job_id)
        counts = (await jobs.get(job_id)).counts
        return digest, counts.done, counts.failed

    async def _traceback(self, job_id: str, tally: Tally) -> str | None:
        line = await self._store.read_result(job_id, tally.samples[0])
        error = msgspec.json.decode(line).get("error") if line else None
        traceback = error.get("traceback") if error else None
        return traceback if isinstance(traceback, str) else None


async def _looked_at(jobs: Jobs, job_id: str) -> Digest:
    """A digest of the log's first failures, made now; when they happened is not known."""
    digesting = Digesting(Digest(job_id), None)
    after = 0
    while after < LOOKED_AT_MAX:
        page = await jobs.results(job_id, View(outcome="failed"), after, _PAGE_LINES, _PAGE_BYTES)
        if not page.count:
            break
        for _ in digesting.over([Segment(job_id, 0, page.count, page.count, 0, 0, page.lines)]):
            await asyncio.sleep(0)
        after = page.next_after
    return digesting.digest
