"""Jobs, items and results in memory, gone with the process: for tests and the simulation.

Simple before fast, so that it can be seen to be right: every read goes through everything there is.

Invariant: a call checks all there is to check before it changes anything.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.domain.errors import Conflict, ServiceError
from app.domain.item import Block, Page, Segment, View, is_failure
from app.domain.job import Job, Status
from app.domain.store import Note, Query, Replay, StoredFile


class MemoryStore:
    """A `JobStore` that no other process ever sees."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        """In order of submission."""
        self._items: dict[str, list[Block]] = {}
        self._logs: dict[str, list[Segment]] = {}
        self._uploads: dict[str, list[Block]] = {}
        self._replays: dict[str, Replay] = {}
        self._notes: list[Note] = []
        self._files: dict[str, StoredFile] = {}
        self._file_uses: set[tuple[str, str]] = set()
        """(file id, job id)"""

    # -- Submitting

    async def create_job(self, job: Job, blocks: Sequence[Block], idempotency_key: str | None = None) -> None:
        if job.id in self._jobs or idempotency_key in self._replays:
            raise Conflict(f"There is a job {job.id!r} already, with other content.")
        self._jobs[job.id] = _at_rest(job)
        self._items[job.id] = list(blocks)
        self._logs[job.id] = []
        if idempotency_key is not None:
            self._replays[idempotency_key] = Replay(job.id, job.fingerprint or "")

    async def begin_upload(self, upload: str) -> None:
        self._uploads[upload] = []

    async def add_blocks(self, upload: str, blocks: Sequence[Block]) -> None:
        self._uploads[upload].extend(blocks)

    async def commit_upload(self, upload: str, job: Job, idempotency_key: str | None = None) -> None:
        await self.create_job(job, self._uploads[upload], idempotency_key)
        del self._uploads[upload]

    async def discard_upload(self, upload: str) -> None:
        self._uploads.pop(upload, None)

    async def replay(self, idempotency_key: str) -> Replay | None:
        return self._replays.get(idempotency_key)

    # -- Jobs

    async def get_job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    async def list_jobs(self, query: Query) -> list[Job]:
        jobs = list(reversed(self._jobs.values()))
        if query.cursor is not None:
            place = next((place for place, job in enumerate(jobs) if job.id == query.cursor), len(jobs))
            jobs = jobs[place + 1 :]
        return [job for job in jobs if _matches(job, query)][: query.limit]

    async def count_jobs(self) -> Mapping[Status, int]:
        return Counter(job.status for job in self._jobs.values())

    async def unfinished_jobs(self) -> list[Job]:
        return [job for job in self._jobs.values() if not job.status.finished]

    async def save_job(self, job: Job) -> None:
        if job.id in self._jobs:
            self._jobs[job.id] = _at_rest(job)

    async def delete_job(self, job_id: str) -> None:
        for of_jobs in (self._jobs, self._items, self._logs):
            of_jobs.pop(job_id, None)
        self._notes = [note for note in self._notes if note.job_id != job_id]
        self._file_uses = {use for use in self._file_uses if use[1] != job_id}

    # -- Items and results

    async def done_ranges(self, job_id: str) -> list[tuple[int, int]]:
        return [(segment.first, segment.count) for segment in self._by_index(job_id)]

    async def read_block(self, job_id: str, index: int) -> Block | None:
        blocks = self._items.get(job_id, [])
        return next((block for block in blocks if block.first <= index < block.stop), None)

    async def append_results(
        self,
        segments: Sequence[Segment],
        jobs: Sequence[Job],
        files: Mapping[str, Sequence[str]],
        notes: Sequence[Note] = (),
    ) -> None:
        logs = {job_id: list(log) for job_id, log in self._logs.items()}
        for segment in segments:
            log = logs[segment.job_id]
            if any(_overlap(segment, other) for other in log):
                raise ServiceError(
                    f"Job {segment.job_id!r} has results of item {segment.first} or next ones."
                )
            log.append(segment)
        self._logs = logs
        self._notes.extend(notes)
        self._file_uses |= {(file_id, job_id) for job_id, ids in files.items() for file_id in ids}
        for job in jobs:
            await self.save_job(job)

    async def read_result(self, job_id: str, index: int) -> bytes | None:
        for segment in self._logs.get(job_id, []):
            if segment.first <= index < segment.first + segment.count:
                return segment.lines.split(b"\n")[index - segment.first]
        return None

    async def notes(self, job_id: str, index: int | None = None) -> list[Note]:
        found = [note for note in self._notes if note.job_id == job_id and index in (None, note.index)]
        return sorted(found, key=lambda note: note.index)

    async def read_results(
        self, job_id: str, view: View, after: int, *, lines_max: int, bytes_max: int, settled: bool
    ) -> Page:
        segments = self._logs.get(job_id, []) if view.order == "completion" else self._by_index(job_id)
        if view.order == "index" and not settled:
            segments = _gapless(segments)
        lines = [line for segment in segments for line in segment.lines.splitlines(keepends=True)]
        if view.outcome is not None:
            lines = [line for line in lines if is_failure(line) == (view.outcome == "failed")]
        page = b""
        count = 0
        for line in lines[after : after + lines_max]:
            if count and len(page) + len(line) > bytes_max:
                break
            page += line
            count += 1
        return Page(page, after, count)

    def _by_index(self, job_id: str) -> list[Segment]:
        return sorted(self._logs.get(job_id, []), key=lambda segment: segment.first)

    # -- Files

    async def add_file(self, file: StoredFile) -> None:
        self._files.setdefault(file.id, file)

    async def get_file(self, file_id: str) -> StoredFile | None:
        return self._files.get(file_id)

    async def delete_file(self, file_id: str) -> None:
        for used, job_id in self._file_uses:
            if used == file_id:
                raise Conflict(f"Job {job_id} names this file; delete the job first.")
        self._files.pop(file_id, None)


def _at_rest(job: Job) -> Job:
    """The job as it is read back: nothing of it runs."""
    return replace(job, counts=replace(job.counts, running=0))


def _matches(job: Job, query: Query) -> bool:
    return (
        query.status in (None, job.status)
        and query.task in (None, job.task)
        and (query.text is None or query.text in job.id or query.text.lower() in (job.label or "").lower())
    )


def _overlap(one: Segment, other: Segment) -> bool:
    return one.first < other.first + other.count and other.first < one.first + one.count


def _gapless(segments: Sequence[Segment]) -> list[Segment]:
    """Those that make up a range from index 0 on; `segments` are sorted."""
    gapless: list[Segment] = []
    expected = 0
    for segment in segments:
        if segment.first != expected:
            break
        gapless.append(segment)
        expected += segment.count
    return gapless
