"""What belongs to a job, put into the database and its payloads."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from app.domain.digest import Digest
from app.domain.errors import Conflict
from app.domain.item import Block, Segment
from app.domain.job import Job
from app.domain.store import Note
from app.stores.payloads import COLUMNS, Columns, Payloads
from app.stores.rows import (
    CHANGING_COLUMNS,
    JOB_COLUMNS,
    changing_to_row,
    digest_to_row,
    job_to_row,
    note_to_row,
)

OWNER = "(SELECT owner FROM jobs WHERE id = ?)"
UPDATE_JOB = f"UPDATE jobs SET {' = ?, '.join(CHANGING_COLUMNS)} = ? WHERE id = ?"
_INSERT_JOB = f"INSERT INTO jobs (owner, {', '.join(JOB_COLUMNS)}) VALUES (?{', ?' * len(JOB_COLUMNS)})"


def insert_job(connection: sqlite3.Connection, job: Job, owner: int, idempotency_key: str | None) -> None:
    """Conflict if there is a job with its id, or the key was used."""
    try:
        connection.execute(_INSERT_JOB, (owner, *job_to_row(job)))
        if idempotency_key is not None:
            connection.execute(
                "INSERT INTO idempotency (key, job_id, fingerprint, created_at) VALUES (?, ?, ?, ?)",
                (idempotency_key, job.id, job.fingerprint, job.created_at.isoformat()),
            )
    except sqlite3.IntegrityError:
        raise Conflict(f"There is a job {job.id!r} already, with other content.") from None
    connection.execute("DELETE FROM tombstones WHERE job_id = ?", (job.id,))


def owner_of(connection: sqlite3.Connection, upload: str) -> int:
    (owner,) = connection.execute("SELECT id FROM owners WHERE upload = ?", (upload,)).fetchone()
    assert isinstance(owner, int)
    return owner


def insert_blocks(
    connection: sqlite3.Connection,
    payloads: Payloads,
    owner: int,
    blocks: Iterable[Block],
    files: Iterable[str],
) -> None:
    """And which files they name."""
    _for_each(
        connection,
        f"INSERT INTO blocks (owner, first, count, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(owner, block.first, block.count, *payloads.add(owner, block.lines)) for block in blocks],
    )
    _for_each(
        connection,
        "INSERT OR IGNORE INTO file_uses (owner, file_id) VALUES (?, ?)",
        [(owner, file_id) for file_id in files],
    )


def append(
    connection: sqlite3.Connection,
    payloads: Payloads,
    segments: Sequence[Segment],
    jobs: Sequence[Job],
    files: Mapping[str, Sequence[str]],
    notes: Sequence[Note],
    digests: Sequence[Digest],
) -> None:
    """Results, and what follows from them."""
    _for_each(
        connection,
        f"INSERT INTO segments (owner, first, count, failed, done_before, failed_before, {COLUMNS})"
        f" VALUES ({OWNER}, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_segment_row(connection, payloads, segment) for segment in segments],
    )
    _for_each(
        connection,
        f"INSERT INTO file_uses (owner, file_id, made) VALUES ({OWNER}, ?, 1) ON CONFLICT DO UPDATE SET made = 1",
        [(job_id, file_id) for job_id, ids in files.items() for file_id in ids],
    )
    _for_each(
        connection,
        f"INSERT INTO notes (owner, item, attempt, at, error, log, death) VALUES ({OWNER}, ?, ?, ?, ?, ?, ?)",
        [note_to_row(note) for note in notes],
    )
    _for_each(
        connection,
        f"INSERT OR REPLACE INTO digests (owner, digest) VALUES ({OWNER}, ?)",
        [digest_to_row(digest) for digest in digests],
    )
    _for_each(connection, UPDATE_JOB, [(*changing_to_row(job), job.id) for job in jobs])


def _segment_row(connection: sqlite3.Connection, payloads: Payloads, s: Segment) -> tuple[object, ...]:
    """With the segment's lines, or where they were put.  If its job is gone, the row will be refused."""
    columns: Columns = s.lines, None, None, None
    if not payloads.inline(s.lines) and (
        job := connection.execute("SELECT owner FROM jobs WHERE id = ?", (s.job_id,)).fetchone()
    ):
        columns = payloads.add(job["owner"], s.lines)
    return (s.job_id, s.first, s.count, s.failed, s.done_before, s.failed_before, *columns)


def _for_each(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object] | Mapping[str, object]]
) -> None:
    """Run the statement with each row.  For none it is not even begun, which would let go of the interpreter's lock."""
    if rows:
        connection.executemany(statement, rows)
