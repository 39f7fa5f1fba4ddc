"""Jobs and files as rows, and back."""

import json
import sqlite3
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from app.domain.digest import Digest
from app.domain.job import Counts, Job, Options, Status
from app.domain.store import Note, StoredFile, Tombstone

CHANGING_COLUMNS = (
    "status", "succeeded", "failed", "cancelled", "sealed", "options", "params", "metadata", "error", "error_groups",
    "label", "started_at", "ended_at", "cancel_requested_at", "expires_at",
)  # fmt: skip
"""To write the others too, though they stay as they are, would write their indexes anew."""
JOB_COLUMNS = (
    "id", "task", "total", "submitted_by", "retry_of", "fingerprint", "created_at", *CHANGING_COLUMNS,
)  # fmt: skip
"""The total grows by items, and with them only."""
FILE_COLUMNS = ("id", "uploaded_by", "size_bytes", "name", "media_type", "created_at")


def job_to_row(job: Job) -> tuple[Any, ...]:
    """Its `JOB_COLUMNS`."""
    born_with = (job.id, job.task, job.counts.total, job.submitted_by, job.retry_of, job.fingerprint)
    return (*born_with, job.created_at.isoformat(), *changing_to_row(job))


def changing_to_row(job: Job) -> tuple[Any, ...]:
    """Its `CHANGING_COLUMNS`."""
    counts = job.counts
    return (
        str(job.status),
        counts.succeeded,
        counts.failed,
        counts.cancelled,
        int(job.sealed),
        _options(job.options),
        json.dumps(job.params) if job.params else "{}",
        _dump(job.metadata),
        _dump(job.error),
        _dump(job.error_groups or None),
        job.label,
        _stamp(job.started_at),
        _stamp(job.ended_at),
        _stamp(job.cancel_requested_at),
        _stamp(job.expires_at),
    )


def row_to_job(row: sqlite3.Row) -> Job:
    created_at = _time(row["created_at"])
    assert created_at is not None
    return Job(
        id=row["id"],
        task=row["task"],
        status=Status(row["status"]),
        counts=Counts(
            total=row["total"], succeeded=row["succeeded"], failed=row["failed"], cancelled=row["cancelled"]
        ),
        options=Options(**json.loads(row["options"])),
        params=json.loads(row["params"]),
        metadata=_load(row["metadata"]),
        error=_load(row["error"]),
        error_groups=tuple(_load(row["error_groups"]) or ()),
        sealed=bool(row["sealed"]),
        label=row["label"],
        submitted_by=row["submitted_by"],
        retry_of=row["retry_of"],
        fingerprint=row["fingerprint"],
        created_at=created_at,
        started_at=_time(row["started_at"]),
        ended_at=_time(row["ended_at"]),
        cancel_requested_at=_time(row["cancel_requested_at"]),
        expires_at=_time(row["expires_at"]),
    )


def file_to_row(file: StoredFile) -> tuple[Any, ...]:
    uploaded_by = file.uploaded_by or ""
    return (file.id, uploaded_by, file.size_bytes, file.name, file.media_type, file.created_at.isoformat())


def row_to_file(row: sqlite3.Row) -> StoredFile:
    return StoredFile(
        id=row["id"],
        size_bytes=row["size_bytes"],
        name=row["name"],
        media_type=row["media_type"],
        created_at=datetime.fromisoformat(row["created_at"]),
        uploaded_by=row["uploaded_by"] or None,
    )


def row_to_tombstone(row: sqlite3.Row) -> Tombstone:
    return Tombstone(
        row["job_id"], row["fingerprint"], datetime.fromisoformat(row["expired_at"]), row["submitted_by"]
    )


def note_to_row(note: Note) -> tuple[Any, ...]:
    at, error = note.at.isoformat(), _dump(note.error)
    return (note.job_id, note.index, note.attempt, at, error, note.log, int(note.death))


def row_to_note(job_id: str, row: sqlite3.Row) -> Note:
    return Note(
        job_id=job_id,
        index=row["item"],
        attempt=row["attempt"],
        at=datetime.fromisoformat(row["at"]),
        error=_load(row["error"]),
        log=row["log"],
        death=bool(row["death"]),
    )


def digest_to_row(digest: Digest) -> tuple[str, str]:
    return (digest.job_id, msgspec.json.encode(digest).decode())


def row_to_digest(job_id: str, row: sqlite3.Row) -> Digest:
    return replace(msgspec.json.decode(row["digest"], type=Digest), job_id=job_id)


@lru_cache(maxsize=256)
def _options(options: Options) -> str:
    return json.dumps(msgspec.structs.asdict(options))


def _dump(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _stamp(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
