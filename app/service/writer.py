"""Puts results into the log.

How it works: results wait in a `_Batch`; one coroutine takes all that waits, of all jobs, writes it in one transaction,
and only then lets counts change and readers know.  It does so at most once in `PAUSE_SECONDS`, since its CPU time is
taken from the items; but at once if something waits for the results.  If the store fails, the batch stays in front of
what came meanwhile, and is tried again.  Failures are looked at before they are written, which takes longer than all
else: a few at a time, and changes that callers wait for are written in between.

Invariant: a segment is written exactly once, and a job's segments in the order in which they came.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from msgspec.structs import replace

from app.domain.clock import Clock
from app.domain.digest import Digest, Digesting, is_telling
from app.domain.errors import ServiceError, StorageFull, StorageUnavailable
from app.domain.item import Segment
from app.domain.job import Job
from app.domain.store import JobStore, Note
from app.service.backlog import Backlog
from app.service.live import LiveJob
from app.service.recent import Room

PAUSE_SECONDS = 0.150
"""From one write to the next, and from results that come many at once to theirs, if those are of jobs that go on.

A change of status alone waits as long for results of its job to be written with.
"""
PAUSE_BYTES_MAX = 256 << 10
"""More results than this do not wait for others."""
JOBS_MAX = 200
"""Whose state is written at once; those that remain follow, and others have the loop between."""
RESULTS_MAX = 1_000
"""Segments that are written at once, likewise: of items that are done one by one, ever so many wait for a slow disk."""
FAILURES_MAX = 500
"""Once so many are to be looked at, further ones are for the next write, and nobody else's results wait for them."""
RETRY_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 5.0
"""How long a caller waits for its change to be stored."""

log = logging.getLogger(__name__)


_Result = tuple[LiveJob, Segment, Sequence[str]]
"""A segment of the job's log, and the ids of files that it names."""


@dataclass(slots=True)
class _Batch:
    """What waits to be written."""

    results: list[_Result] = field(default_factory=list)
    notes: list[tuple[LiveJob, Note]] = field(default_factory=list)
    jobs: dict[str, LiveJob] = field(default_factory=dict)
    """Those whose state is to be written."""
    unanswered: dict[str, list[asyncio.Future[None]]] = field(default_factory=dict)
    """Who waits for the state of a job to be written."""

    def __bool__(self) -> bool:
        return bool(self.results or self.notes or self.jobs)

    def followed_by(self, later: "_Batch") -> "_Batch":
        unanswered = {
            job_id: self.unanswered.get(job_id, []) + later.unanswered.get(job_id, [])
            for job_id in chain(self.unanswered, later.unanswered)
        }
        return _Batch(
            self.results + later.results, self.notes + later.notes, self.jobs | later.jobs, unanswered
        )

    def take_results(self) -> list[_Result]:
        """Those to be written first.  Of the others, those of jobs that had none among these come first next time."""
        taken: list[_Result] = []
        left: dict[str, list[_Result]] = {}
        failures = 0
        for result in self.results:
            live, segment, _ = result
            full = len(taken) == RESULTS_MAX or (segment.failed and failures >= FAILURES_MAX)
            if full or live.job.id in left:
                left.setdefault(live.job.id, []).append(result)
            else:
                taken.append(result)
                failures += segment.failed
        served = {live.job.id for live, *_ in taken} if left else set()
        self.results = [result for job_id in sorted(left, key=served.__contains__) for result in left[job_id]]
        return taken

    def take_state(self) -> "_Batch":
        """The jobs to be written first, those that somebody waits for before others, and all there is to note."""
        first = list(islice(dict.fromkeys(chain(self.unanswered, self.jobs)), JOBS_MAX))
        jobs = {job_id: self.jobs.pop(job_id) for job_id in first}
        unanswered = {job_id: self.unanswered.pop(job_id) for job_id in first if job_id in self.unanswered}
        notes, self.notes = self.notes, []
        return _Batch([], notes, jobs, unanswered)


@dataclass(slots=True)
class Stored:
    """Results stored since the start."""

    succeeded: int = 0
    failed: int = 0
    bytes: int = 0

    def add(self, segment: Segment) -> None:
        self.succeeded += segment.count - segment.failed
        self.failed += segment.failed
        self.bytes += len(segment.lines)


class Writer:
    """The one that writes what running jobs bring forth."""

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        backlog: Backlog,
        on_stored: Callable[[Sequence[LiveJob]], None],
    ) -> None:
        """`backlog` is to know what waits here."""
        self._store = store
        self._clock = clock
        self._on_stored = on_stored
        self._waiting = _Batch()
        self._touched: dict[str, LiveJob] = {}
        """Jobs that changed and may wait for results."""
        self._timer: asyncio.Handle | None = None
        """Writes these without, and results that wait for more, at `_due`."""
        self._due = 0.0
        self._wrote_at = -PAUSE_SECONDS
        self._wake = asyncio.Event()
        self._stopping = False
        self.trouble: ServiceError | None = None
        """Why nothing can be stored now."""
        self.stored = Stored()
        self._room = Room()
        self._backlog = backlog

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._write_forever())

    async def stop(self) -> None:
        """Write what waits, once; what cannot be written will be made again after the next start."""
        self._stopping = True
        self._write_touched()
        self._wake.set()
        await self._task

    def add(self, live: LiveJob, segment: Segment, files: Sequence[str]) -> None:
        """The next segment of the job's log, and the files it names."""
        self._waiting.results.append((live, segment, files))
        self._backlog.add(live, len(segment.lines))
        # Many that come at once took little each, and soon other workers tell of theirs.
        pause = PAUSE_SECONDS
        if segment.count == 1:
            pause += self._wrote_at - self._clock.monotonic()
        if pause <= 0 or live.eager or self._backlog.bytes >= PAUSE_BYTES_MAX:
            self._wake.set()
        else:
            self._write_within(pause)

    def note(self, live: LiveJob, note: Note) -> None:
        self._waiting.notes.append((live, note))
        self._backlog.add(live, _size(note))
        self.touch(live)

    def touch(self, live: LiveJob) -> None:
        """The job may have to be written, and may be at its end."""
        if live.job.status.finished:
            return  # its last result was in the log before its chunk's end was told
        if live.idle:
            self._waiting.jobs[live.job.id] = live
            self._wake.set()
            return
        self._touched[live.job.id] = live
        if live.at_its_end and self._waiting.results:
            self._wake.set()  # its last results are among these
        else:
            self._write_within(PAUSE_SECONDS)

    def hasten(self) -> None:
        """Write what waits now."""
        self._wake.set()

    def _write_within(self, seconds: float) -> None:
        """Write what waits by then, and the jobs that changed."""
        due = self._clock.monotonic() + seconds
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(seconds, self._write_touched)

    def _write_touched(self) -> None:
        self._waiting.jobs |= self._touched
        self._touched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._wake.set()

    async def written(self, live: LiveJob) -> None:
        """Return once the job, as it is now, is stored.  ServiceError if that takes too long."""
        self._waiting.jobs[live.job.id] = live
        answer = asyncio.get_running_loop().create_future()
        self._waiting.unanswered.setdefault(live.job.id, []).append(answer)
        self._wake.set()
        await asyncio.wait([answer], timeout=ANSWER_SECONDS_MAX)
        if not answer.done():
            why = self.trouble.detail if self.trouble else "The disk is slow."
            raise StorageUnavailable(
                f"That is in force, but not stored yet, and a crash would undo it. {why} Ask again.",
                retry_after_seconds=round(RETRY_SECONDS_MAX),
            )

    async def _write_forever(self) -> None:
        delay = 0.1
        while not self._stopping or self._wake.is_set():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
                delay = 0.1
                continue
            except (StorageFull, StorageUnavailable) as error:
                self._begin_trouble(error)
            except Exception:
                # Never the end of this loop: nothing would ever finish again.
                log.exception("results cannot be stored; trying again in %.1f s", delay)
            if self._stopping:
                return
            await asyncio.sleep(delay)
            self._wake.set()
            delay = min(delay * 2, RETRY_SECONDS_MAX)

    def _begin_trouble(self, error: StorageFull | StorageUnavailable) -> None:
        """The storage fails for a reason that may pass: said once."""
        if self.trouble is None:
            log.error("results cannot be stored, and no item starts until they can: %s", error.detail)
        self.trouble = type(error)(error.detail, retry_after_seconds=round(RETRY_SECONDS_MAX))
        self._on_stored(())

    async def _write(self) -> None:
        """Write what waits: all, or the first part of it, and the rest follows."""
        results = self._waiting.take_results()
        if self._waiting.results:
            self._wake.set()
        try:
            digests = await self._digests(results)
        except BaseException:
            self._waiting = _Batch(results).followed_by(self._waiting)
            raise
        await self._commit(results, digests)

    async def _commit(self, results: list[_Result], digests: Mapping[str, Digest]) -> None:
        """Store these results, and what else changed about jobs, in one transaction; then let everybody know."""
        batch = self._waiting.take_state()
        batch.results = results
        if not batch:
            return
        if self._waiting.jobs:
            self._wake.set()
        self._wrote_at = self._clock.monotonic()
        segments = [segment for _, segment, _ in results]
        by_job: dict[str, list[Segment]] = {}
        files: dict[str, list[str]] = {}
        for live, segment, named in results:
            batch.jobs[live.job.id] = live
            self._touched.pop(live.job.id, None)
            by_job.setdefault(live.job.id, []).append(segment)
            if named:
                files.setdefault(live.job.id, []).extend(named)
        try:
            now = self._clock.now()
            jobs = {live.job.id: live.after(by_job.get(live.job.id, ()), now) for live in batch.jobs.values()}
            jobs |= {
                job_id: replace(jobs[job_id], error_groups=digest.top) for job_id, digest in digests.items()
            }
            await self._store.append_results(
                segments,
                list(jobs.values()),
                files,
                [note for _, note in batch.notes],
                list(digests.values()),
            )
        except BaseException:
            self._waiting = batch.followed_by(self._waiting)
            raise
        self._tell(batch, jobs, by_job, digests)

    def _tell(
        self,
        batch: _Batch,
        jobs: Mapping[str, Job],
        by_job: Mapping[str, Sequence[Segment]],
        digests: Mapping[str, Digest],
    ) -> None:
        """The batch is stored, and its jobs are these."""
        if self.trouble is not None:
            log.info("results can be stored again")
            self.trouble = None
        for live, segment, _ in batch.results:
            self._backlog.add(live, -len(segment.lines))
            self.stored.add(segment)
            live.recent.add(segment, self._room)
        for live, note in batch.notes:
            self._backlog.add(live, -_size(note))
        for live in batch.jobs.values():
            live.unwritten -= len(by_job.get(live.job.id, ()))
            live.job = _merged(live.job, jobs[live.job.id])
            if live.job.id in digests:
                live.digest = digests[live.job.id]
            live.rate.note(self._clock.monotonic(), live.job.counts.done, live.share)
            if live.job.status.finished:
                self._waiting.jobs.pop(live.job.id, None)
                self._touched.pop(live.job.id, None)
                _answer(self._waiting.unanswered.pop(live.job.id, ()))
                live.recent.release(self._room)
            elif live.idle and live.over:
                self.touch(live)
        for answers in batch.unanswered.values():
            _answer(answers)
        self._on_stored(list(batch.jobs.values()))

    async def _digests(self, results: Sequence[_Result]) -> dict[str, Digest]:
        """The digests of jobs after these results, their next; of those whose digest changes."""
        telling: dict[str, tuple[LiveJob, list[Segment]]] = {}
        for live, segment, _ in results:
            if is_telling(segment):
                telling.setdefault(live.job.id, (live, []))[1].append(segment)
        return {job_id: await self._digest(live, segments) for job_id, (live, segments) in telling.items()}

    async def _digest(self, live: LiveJob, segments: Sequence[Segment]) -> Digest:
        """The job's digest after these segments.  Changes that callers wait for are stored meanwhile."""
        if live.digest is None:
            live.digest = await self._store.read_digest(live.job.id) or Digest(live.job.id)
        digesting = Digesting(live.digest, self._clock.now())
        for _ in digesting.over(segments):
            await asyncio.sleep(0)
            if self._waiting.unanswered:
                await self._commit([], {})
        return digesting.digest


def _answer(answers: Iterable[asyncio.Future[None]]) -> None:
    for answer in answers:
        if not answer.done():  # who waited too long has left
            answer.set_result(None)


def _size(note: Note) -> int:
    """About how much memory a note takes."""
    return len(note.log or "") + sum(len(str(value)) for value in (note.error or {}).values())


def _merged(now: Job, stored: Job) -> Job:
    """What was stored, and what changed while it was being stored: anything but the results."""
    if stored.status.finished:
        return stored
    done = stored.counts
    counts = replace(now.counts, succeeded=done.succeeded, failed=done.failed)
    return replace(now, counts=counts, error_groups=stored.error_groups)
