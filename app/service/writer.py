"""Puts results into the log.

How it works: what comes in waits in a `_Batch`; one coroutine takes all that waits, of all jobs, writes it in one
transaction, and only then lets counts change and readers know.  That is at most once in `PAUSE_SECONDS`, for the
CPU it takes is the items'; but at once for what something waits for.  If the store fails, the batch waits on in
front of what came meanwhile, and is tried again.

Invariant: a segment is written exactly once, in the order in which it came.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from app.domain.clock import Clock
from app.domain.digest import Digest, Digesting, is_telling
from app.domain.errors import ServiceError, StorageFull, StorageUnavailable
from app.domain.item import Segment
from app.domain.job import Job
from app.domain.store import JobStore, Note
from app.service.live import LiveJob
from app.service.recent import Room

STATUS_DELAY_SECONDS = 0.100
"""A change of status alone waits this long for results of its job to be written with."""
PAUSE_SECONDS = 0.100
"""From one write to the next, if all that waits are some more results of jobs that go on."""
PAUSE_BYTES_MAX = 256 << 10
"""More results than this do not wait for others."""
JOBS_MAX = 200
"""Whose state is written at once; those that remain follow, and others have the loop between."""
RETRY_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 5.0
"""How long a caller waits for its change to be stored."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Batch:
    """What waits to be written."""

    segments: list[tuple[LiveJob, Segment]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)
    """Ids of files that results name, by job."""
    jobs: dict[str, LiveJob] = field(default_factory=dict)
    """Those whose state is to be written."""
    unanswered: list[asyncio.Future[None]] = field(default_factory=list)
    """Who waits for this to be written."""

    def followed_by(self, later: "_Batch") -> "_Batch":
        files = {job_id: ids + later.files.get(job_id, []) for job_id, ids in self.files.items()}
        return _Batch(
            self.segments + later.segments,
            self.notes + later.notes,
            later.files | files,
            self.jobs | later.jobs,
            self.unanswered + later.unanswered,
        )

    def parted(self) -> tuple["_Batch", "_Batch"]:
        """What is to be written first, and the rest, which is written before anybody is answered."""
        if len(self.jobs) <= JOBS_MAX:
            return self, _Batch()
        jobs = list(self.jobs.items())
        first = _Batch(self.segments, self.notes, self.files, dict(jobs[:JOBS_MAX]))
        return first, _Batch(jobs=dict(jobs[JOBS_MAX:]), unanswered=self.unanswered)


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

    def __init__(self, store: JobStore, clock: Clock, on_stored: Callable[[Sequence[LiveJob]], None]) -> None:
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
        self.bytes_waiting = 0
        """Of results and notes that are not stored yet."""

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
        self._waiting.segments.append((live, segment))
        if files:
            self._waiting.files.setdefault(live.job.id, []).extend(files)
        self.bytes_waiting += len(segment.lines)
        pause = self._wrote_at + PAUSE_SECONDS - self._clock.monotonic()
        if pause <= 0 or live.eager or self.bytes_waiting >= PAUSE_BYTES_MAX:
            self._wake.set()
        else:
            self._write_within(pause)

    def note(self, live: LiveJob, note: Note) -> None:
        self._waiting.notes.append(note)
        self.bytes_waiting += _size(note)
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
        if live.at_its_end and self._waiting.segments:
            self._wake.set()  # its last results are among these
        else:
            self._write_within(STATUS_DELAY_SECONDS)

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
        if self._waiting.jobs or self._waiting.segments:
            self._wake.set()

    async def written(self, live: LiveJob) -> None:
        """Return once the job, as it is now, is stored.  ServiceError if that takes too long."""
        self._waiting.jobs[live.job.id] = live
        answer = asyncio.get_running_loop().create_future()
        self._waiting.unanswered.append(answer)
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
        """Write all that waits in one transaction, then tell everybody."""
        batch, self._waiting = self._waiting.parted()
        if self._waiting.jobs:
            self._wake.set()
        self._wrote_at = self._clock.monotonic()
        try:
            by_job: dict[str, list[Segment]] = {}
            for live, segment in batch.segments:
                batch.jobs[live.job.id] = live
                self._touched.pop(live.job.id, None)
                by_job.setdefault(live.job.id, []).append(segment)
            digests = {
                job_id: digest
                for job_id, segments in by_job.items()
                if (digest := await self._digest(batch.jobs[job_id], segments)) is not None
            }
            now = self._clock.now()
            jobs = {live.job.id: live.after(by_job.get(live.job.id, ()), now) for live in batch.jobs.values()}
            jobs |= {
                job_id: replace(jobs[job_id], error_groups=digest.top) for job_id, digest in digests.items()
            }
            segments = [segment for _, segment in batch.segments]
            await self._store.append_results(
                segments, list(jobs.values()), batch.files, batch.notes, list(digests.values())
            )
        except BaseException:
            self._waiting = batch.followed_by(self._waiting)
            raise
        if self.trouble is not None:
            log.info("results can be stored again")
            self.trouble = None
        self.bytes_waiting -= sum(len(segment.lines) for segment in segments)
        for live, segment in batch.segments:
            self.stored.add(segment)
            live.recent.add(segment, self._room)
        self.bytes_waiting -= sum(map(_size, batch.notes))
        for live in batch.jobs.values():
            live.unwritten -= len(by_job.get(live.job.id, ()))
            live.job = _merged(live.job, jobs[live.job.id])
            if live.job.id in digests:
                live.digest = digests[live.job.id]
            live.rate.note(self._clock.monotonic(), live.job.counts.done, live.share)
            if live.job.status.finished:
                self._waiting.jobs.pop(live.job.id, None)
                self._touched.pop(live.job.id, None)
                live.recent.release(self._room)
            elif live.idle and live.over:
                self.touch(live)
        for answer in batch.unanswered:
            if not answer.done():
                answer.set_result(None)
        self._on_stored(list(batch.jobs.values()))

    async def _digest(self, live: LiveJob, segments: Sequence[Segment]) -> Digest | None:
        """The job's digest after these segments, its next; None if it stays the same."""
        telling = [segment for segment in segments if is_telling(segment)]
        if not telling:
            return None
        if live.digest is None:
            live.digest = await self._store.read_digest(live.job.id) or Digest(live.job.id)
        digesting = Digesting(live.digest, self._clock.now())
        for _ in digesting.over(telling):
            await asyncio.sleep(0)
        return digesting.digest


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
