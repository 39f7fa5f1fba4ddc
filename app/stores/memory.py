"""Jobs, items and results in memory, gone with the process: for tests and the simulation.

Simple before fast, so that it can be seen to be right: every read goes through everything there is.

Invariant: a call checks all there is to check before it changes anything.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from app.domain.digest import Digest
from app.domain.errors import Conflict, ServiceError
from app.domain.item import Block, Outcome, Page, Segment, View, is_failure
from app.domain.job import Job, Status
from app.domain.store import Extent, Note, Position, Query, Replay, StoredFile, Tombstone


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
        self._digests: dict[str, Digest] = {}
        self._tombstones: dict[str, Tombstone] = {}
        self._key_times: dict[str, datetime] = {}
        self._files: dict[tuple[str, str | None], StoredFile] = {}
        """By id and who uploaded it, in that order in time."""
        self._file_uses: set[tuple[str, str]] = set()
        """(file id, job id or name of an upload)"""
        self._made: set[tuple[str, str]] = set()
        """(file id, id of a job that gave it in a result)"""

    def open(self) -> None:
        """Forget uploads that never became jobs."""
        for upload in list(self._uploads):
            self._discard(upload)

    def jobs(self) -> list[Job]:
        """All there are, for those who watch."""
        return list(self._jobs.values())

    def log(self, job_id: str) -> list[Segment]:
        return self._logs.get(job_id, [])

    def uploads(self) -> list[str]:
        return list(self._uploads)

    # -- Submitting

    async def create_job(
        self, job: Job, blocks: Sequence[Block], idempotency_key: str | None = None, files: Sequence[str] = ()
    ) -> None:
        if job.id in self._jobs or idempotency_key in self._replays:
            raise Conflict(f"There is a job {job.id!r} already, with other content.")
        self._jobs[job.id] = _at_rest(job)
        self._items[job.id] = list(blocks)
        self._logs[job.id] = []
        self._file_uses |= {(file_id, job.id) for file_id in files}
        self._tombstones.pop(job.id, None)
        if idempotency_key is not None:
            self._replays[idempotency_key] = Replay(job.id, job.fingerprint or "")
            self._key_times[idempotency_key] = job.created_at

    async def begin_upload(self, upload: str) -> None:
        self._uploads[upload] = []

    async def add_blocks(self, upload: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        self._uploads[upload].extend(blocks)
        self._file_uses |= {(file_id, f"upload {upload}") for file_id in files}

    async def commit_upload(self, upload: str, job: Job, idempotency_key: str | None = None) -> None:
        files = [file_id for file_id, user in self._file_uses if user == f"upload {upload}"]
        await self.create_job(job, self._uploads[upload], idempotency_key, files)
        await self.discard_upload(upload)

    async def discard_upload(self, upload: str) -> None:
        self._discard(upload)

    def _discard(self, upload: str) -> None:
        self._uploads.pop(upload, None)
        self._drop_uses(f"upload {upload}")

    async def replay(self, idempotency_key: str) -> Replay | None:
        return self._replays.get(idempotency_key)

    # -- Jobs

    async def get_job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    async def list_jobs(self, query: Query) -> list[Job]:
        jobs = list(reversed(self._jobs.values()))
        if query.cursor is not None:
            jobs = _after(jobs, query.cursor)
        return [job for job in jobs if _matches(job, query)][: query.limit]

    async def count_jobs(self) -> Mapping[Status, int]:
        return Counter(job.status for job in self._jobs.values())

    async def unfinished_jobs(self) -> list[Job]:
        return [job for job in self._jobs.values() if not job.status.finished]

    async def save_job(self, job: Job) -> None:
        if stored := self._jobs.get(job.id):
            self._jobs[job.id] = _of_total(_at_rest(job), stored.counts.total)

    async def append_items(self, job_id: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        job = self._jobs.get(job_id)
        if job is None or job.sealed or job.status.finished or job.counts.total != blocks[0].first:
            raise Conflict(f"Job {job_id!r} takes no items from {blocks[0].first} on.")
        self._items[job_id].extend(blocks)
        self._file_uses |= {(file_id, job_id) for file_id in files}
        self._jobs[job_id] = _of_total(job, blocks[-1].stop)

    async def delete_job(self, job_id: str) -> None:
        for of_jobs in (self._jobs, self._items, self._logs, self._digests):
            of_jobs.pop(job_id, None)
        self._notes = [note for note in self._notes if note.job_id != job_id]
        self._tombstones.pop(job_id, None)
        self._drop_uses(job_id)

    async def tombstone(self, job_id: str) -> Tombstone | None:
        return self._tombstones.get(job_id)

    # -- Items and results

    async def done_ranges(
        self, job_id: str, index: int = 0, ranges_max: int | None = None
    ) -> list[tuple[int, int]]:
        segments = [s for s in self._by_index(job_id) if s.first + s.count > index]
        return [(segment.first, segment.count) for segment in segments][:ranges_max]

    async def segments_from(
        self, job_id: str, index: int, outcome: Outcome, *, bytes_max: int
    ) -> list[Segment]:
        found: list[Segment] = []
        for segment in self._by_index(job_id):
            own = segment.failed if outcome == "failed" else segment.count - segment.failed
            if segment.first + segment.count <= index or not own:
                continue
            bytes_max -= len(segment.lines)
            if found and bytes_max < 0:
                break
            found.append(segment)
        return found

    async def read_block(self, job_id: str, index: int) -> Block | None:
        blocks = self._items.get(job_id, [])
        return next((block for block in blocks if block.first <= index < block.stop), None)

    async def read_blocks(self, job_id: str, index: int, *, bytes_max: int) -> list[Block]:
        found: list[Block] = []
        for block in sorted(self._items.get(job_id, []), key=lambda block: block.first):
            if block.stop <= index:
                continue
            bytes_max -= len(block.lines)
            if found and bytes_max < 0:
                break
            found.append(block)
        return found

    async def append_results(
        self,
        segments: Sequence[Segment],
        jobs: Sequence[Job],
        files: Mapping[str, Sequence[str]],
        notes: Sequence[Note] = (),
        digests: Sequence[Digest] = (),
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
        self._digests |= {digest.job_id: digest for digest in digests}
        made = {(file_id, job_id) for job_id, ids in files.items() for file_id in ids}
        self._file_uses |= made
        self._made |= made
        for job in jobs:
            await self.save_job(job)

    async def read_digest(self, job_id: str) -> Digest | None:
        return self._digests.get(job_id)

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

    async def extent(self, job_id: str, view: View, after: int, offset: int) -> Extent:
        everything = await self.read_results(
            job_id, view, after, lines_max=sys.maxsize, bytes_max=sys.maxsize, settled=True
        )
        return Extent(len(everything.lines), after, offset)

    def _by_index(self, job_id: str) -> list[Segment]:
        return sorted(self._logs.get(job_id, []), key=lambda segment: segment.first)

    # -- Files

    async def add_file(self, file: StoredFile) -> None:
        self._files.setdefault((file.id, file.uploaded_by), file)

    async def get_file(self, file_id: str, uploaded_by: str | None = None) -> StoredFile | None:
        if uploaded_by is not None:
            return self._files.get((file_id, uploaded_by))
        return next((file for file in self._files.values() if file.id == file_id), None)

    async def strange_files(self, file_ids: Sequence[str], caller: str) -> list[str]:
        given = {file_id for file_id, job_id in self._made if self._jobs[job_id].submitted_by == caller}
        return [
            file_id for file_id in file_ids if file_id not in given and (file_id, caller) not in self._files
        ]

    async def stored_bytes(self, caller: str) -> int:
        own = {job.id for job in self._jobs.values() if job.submitted_by == caller}
        items = sum(len(block.lines) for job_id in own for block in self._items[job_id])
        results = sum(len(segment.lines) for job_id in own for segment in self._logs[job_id])
        files = sum(file.size_bytes for file in self._files.values() if file.uploaded_by == caller)
        return items + results + files

    async def delete_file(self, file_id: str, uploaded_by: str | None = None) -> bool:
        users = {user for used, user in self._file_uses if used == file_id}
        own = {user for user in users if user in self._jobs and self._jobs[user].submitted_by == uploaded_by}
        if users if uploaded_by is None else own:
            raise Conflict("A job names this file, in an item or a result; DELETE the job first.")
        if uploaded_by is not None:
            self._files.pop((file_id, uploaded_by), None)
            if users or await self.get_file(file_id):
                return False
        await self.forget_files([file_id])
        return True

    async def forget_files(self, file_ids: Sequence[str]) -> list[str]:
        used = {file_id for file_id, _ in self._file_uses}
        unused = [file_id for file_id in file_ids if file_id not in used]
        self._files = {place: file for place, file in self._files.items() if place[0] not in unused}
        return unused

    def _drop_uses(self, user: str) -> None:
        self._file_uses = {use for use in self._file_uses if use[1] != user}
        self._made = {use for use in self._made if use[1] != user}

    # -- Keeping house

    async def expire_jobs(self, now: datetime, jobs_max: int) -> list[str]:
        due = sorted((job.expires_at, job.id) for job in self._jobs.values() if job.expires_at is not None)
        expired = [job_id for expires_at, job_id in due if expires_at <= now][:jobs_max]
        for job_id in expired:
            job = self._jobs[job_id]
            await self.delete_job(job_id)
            self._tombstones[job_id] = Tombstone(job_id, job.fingerprint, now, job.submitted_by)
        return expired

    async def forget(self, *, tombstones_before: datetime, keys_before: datetime, rows_max: int) -> int:
        stones = [stone for stone in self._tombstones.values() if stone.expired_at < tombstones_before]
        stones = sorted(stones, key=lambda stone: stone.expired_at)[:rows_max]
        keys = sorted((at, key) for key, at in self._key_times.items() if at < keys_before)[:rows_max]
        for stone in stones:
            del self._tombstones[stone.job_id]
        for _, key in keys:
            del self._key_times[key], self._replays[key]
        return len(stones) + len(keys)

    async def sweep(self, bytes_max: int) -> bool:  # noqa: ARG002 -- nothing is ever left here
        return False


def _at_rest(job: Job) -> Job:
    """The job as it is read back: nothing of it runs."""
    return replace(job, counts=replace(job.counts, running=0))


def _of_total(job: Job, total: int) -> Job:
    return replace(job, counts=replace(job.counts, total=total))


def _after(jobs: Sequence[Job], cursor: Position) -> list[Job]:
    """Those after this place; of a job that is gone, it is before those that are no newer than it was."""
    exact = [
        n for n, job in enumerate(jobs) if (job.id, job.created_at) == (cursor.job_id, cursor.created_at)
    ]
    older = [n for n, job in enumerate(jobs) if job.created_at <= cursor.created_at]
    start = exact[0] + 1 if exact else older[0] if older else len(jobs)
    return list(jobs[start:])


def _matches(job: Job, query: Query) -> bool:
    return (
        query.status in (None, job.status)
        and query.task in (None, job.task)
        and query.submitted_by in (None, job.submitted_by)
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
