"""Where jobs, their items and their results live.

Each call of a store is one transaction: when it returns, the change survives a crash of the service; when it
raises, nothing changed.  A store decides nothing and never reads the clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from app.domain.digest import Digest
from app.domain.item import Block, Outcome, Page, Segment, View
from app.domain.job import Job, Status


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list of jobs: where this one is, or was before it was deleted."""

    job_id: str
    created_at: datetime


class Query(msgspec.Struct, frozen=True):
    """Which jobs to list: newest first, from after `cursor` on."""

    limit: int
    status: Status | None = None
    task: str | None = None
    text: str | None = None
    """Is part of the id, or of the label whatever its case."""
    cursor: Position | None = None
    """Of the last job of the page before."""
    submitted_by: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a caller said of a file; its bytes lie in the file directory, once for all who uploaded them."""

    id: str
    size_bytes: int
    name: str | None
    media_type: str
    created_at: datetime
    uploaded_by: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What an `Idempotency-Key` was used for."""

    job_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is remembered of a job whose retention is over."""

    job_id: str
    fingerprint: str | None
    expired_at: datetime
    submitted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of one attempt of an item besides its result: how it failed, or what it printed."""

    job_id: str
    index: int
    attempt: int
    at: datetime
    error: Mapping[str, Any] | None = None
    log: str | None = None
    death: bool = False
    """Whether the attempt ended with its worker's end."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of a view, in bytes, and a place in it."""

    size_bytes: int
    after: int
    """Read the view from this cursor on,"""
    skip_bytes: int
    """and leave out so much, to be at the place."""


class JobStore(Protocol):
    # -- Submitting

    async def create_job(
        self, job: Job, blocks: Sequence[Block], idempotency_key: str | None = None, files: Sequence[str] = ()
    ) -> None:
        """Add a job with its items, which name `files`; a tombstone of its id goes.

        Conflict if there is a job with its id, or the key was used.
        """
        ...

    async def begin_upload(self, upload: str) -> None:
        """Start collecting items of a job that does not exist yet.  What is never committed is never seen."""
        ...

    async def add_blocks(self, upload: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        """Add items, which name `files`, to the upload."""
        ...

    async def commit_upload(self, upload: str, job: Job, idempotency_key: str | None = None) -> None:
        """The upload's items become the job's.  Conflict as with `create_job`; the upload stays."""
        ...

    async def discard_upload(self, upload: str) -> None:
        """Forget the upload; harmless if it is gone."""
        ...

    async def replay(self, idempotency_key: str) -> Replay | None:
        """What the key was used for, if it was."""
        ...

    # -- Jobs

    async def get_job(self, job_id: str) -> Job | None: ...

    async def list_jobs(self, query: Query) -> list[Job]: ...

    async def count_jobs(self) -> Mapping[Status, int]:
        """How many jobs are in each status."""
        ...

    async def unfinished_jobs(self) -> list[Job]:
        """Every job that is not finished, oldest first."""
        ...

    async def save_job(self, job: Job) -> None:
        """Write the job's state over what was there, but for its total and what it was born with."""
        ...

    async def append_items(self, job_id: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        """Add items, which name `files`, behind those of the job; its total grows by theirs.

        Conflict if the job is gone, finished or sealed, or if they do not follow on those it has.
        """
        ...

    async def delete_job(self, job_id: str) -> None:
        """Forget the job, its items and results, and any tombstone of its id; harmless if it is gone.

        Its key stays used.
        """
        ...

    async def tombstone(self, job_id: str) -> Tombstone | None:
        """What is remembered of a job that has expired and gone."""
        ...

    # -- Items and results

    async def done_ranges(
        self, job_id: str, index: int = 0, ranges_max: int | None = None
    ) -> list[tuple[int, int]]:
        """(first, count) of the segments with results of item `index` or later ones, by first.  Reads no result."""
        ...

    async def segments_from(
        self, job_id: str, index: int, outcome: Outcome, *, bytes_max: int
    ) -> list[Segment]:
        """The segments with results of item `index` or later ones, and such an outcome among them, by first.

        As many as the limit allows, but one where there is one.
        """
        ...

    async def read_block(self, job_id: str, index: int) -> Block | None:
        """The block that holds item `index`."""
        ...

    async def read_blocks(self, job_id: str, index: int, *, bytes_max: int) -> list[Block]:
        """That one and those behind it, in order: not all, but the first, and no more than the limit allows."""
        ...

    async def append_results(
        self,
        segments: Sequence[Segment],
        jobs: Sequence[Job],
        files: Mapping[str, Sequence[str]],
        notes: Sequence[Note] = (),
        digests: Sequence[Digest] = (),
    ) -> None:
        """Add segments to their jobs' logs, in the order given; save the jobs' states and digests; note who names
        which file.

        One transaction: counts and digests never disagree with the log.  ServiceError for a segment that is
        there already.
        """
        ...

    async def read_digest(self, job_id: str) -> Digest | None:
        """The job's digest, if there was anything to put into one."""
        ...

    async def read_result(self, job_id: str, index: int) -> bytes | None:
        """The result line of item `index`, if it has one."""
        ...

    async def notes(self, job_id: str, index: int | None = None) -> list[Note]:
        """The notes of an item, or of the whole job: by index, oldest first."""
        ...

    async def read_results(
        self, job_id: str, view: View, after: int, *, lines_max: int, bytes_max: int, settled: bool
    ) -> Page:
        """The view's lines after the first `after`: as many as both limits allow, but one where there is one.

        By index, only lines before which no item of the job can still get one: all, if the job is `settled`
        (finished), else those of the gapless range from index 0 on.
        """
        ...

    async def extent(self, job_id: str, view: View, after: int, offset: int) -> Extent:
        """How large the view of a finished job is after its first `after` lines, and where byte `offset` of that is."""
        ...

    # -- Files

    async def add_file(self, file: StoredFile) -> None:
        """Note a file; harmless if it is noted already for who uploads it now."""
        ...

    async def get_file(self, file_id: str, uploaded_by: str | None = None) -> StoredFile | None:
        """The file as this caller described it, or, if none is named, as its first uploader did."""
        ...

    async def strange_files(self, file_ids: Sequence[str], caller: str) -> list[str]:
        """Those of the files that the caller did not upload, and that no job of it gave in a result."""
        ...

    async def stored_bytes(self, caller: str) -> int:
        """How many bytes the items and results of the caller's jobs take, and the files that it uploaded."""
        ...

    async def delete_file(self, file_id: str, uploaded_by: str | None = None) -> bool:
        """Forget that this caller, or if none is named anybody, uploaded the file; harmless if nobody did.

        Whether nobody has it any more.  Conflict if a job of the caller, or if none is named any job, names it.
        """
        ...

    async def forget_files(self, file_ids: Sequence[str]) -> list[str]:
        """Forget those of the files that no job names, noted or not.  Returns these."""
        ...

    # -- Keeping house

    async def expire_jobs(self, now: datetime, jobs_max: int) -> list[str]:
        """Delete at most so many expired jobs, soonest first, leaving tombstones.  Returns their ids."""
        ...

    async def forget(self, *, tombstones_before: datetime, keys_before: datetime, rows_max: int) -> int:
        """Drop tombstones and idempotency keys that are older, at most so many of each.  Returns how many."""
        ...

    async def sweep(self, bytes_max: int) -> bool:
        """Free about so much of what deleted jobs and broken uploads held.  Returns whether there is more."""
        ...
