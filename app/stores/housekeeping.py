"""Deleting, and giving the space back: in steps so small that no other write waits long.

How it works: a deleted job's row goes, and its owner is marked dead; nothing finds what hangs on that owner any
more.  `sweep` then takes that away piece by piece, and after it pages off the end of the file.  An owner's payloads go
as one file, after its rows; on a full disk before them, since that makes room.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

ROWS_MAX = 1000
"""Of small rows, so many are deleted in one step."""
SLACK_PAGES = 2048
SLACK_SHARE = 0.1
"""Free pages that are kept for what comes next: so many, or this share of the file if that is more."""

_DELETE_EXPIRED = """
    DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
    RETURNING id, owner, fingerprint, submitted_by
"""


def bury(connection: sqlite3.Connection, owners: Sequence[int]) -> None:
    """Nobody owns what hangs on these any more."""
    connection.executemany(
        "UPDATE owners SET dead = 1, upload = NULL WHERE id = ?", [(owner,) for owner in owners]
    )


def expire_jobs(connection: sqlite3.Connection, now: datetime, jobs_max: int) -> list[str]:
    """Delete what has expired, leaving tombstones."""
    expired = connection.execute(_DELETE_EXPIRED, (now.isoformat(), jobs_max)).fetchall()
    bury(connection, [row["owner"] for row in expired])
    connection.executemany(
        "INSERT OR REPLACE INTO tombstones (job_id, fingerprint, expired_at, submitted_by) VALUES (?, ?, ?, ?)",
        [(row["id"], row["fingerprint"], now.isoformat(), row["submitted_by"]) for row in expired],
    )
    return [row["id"] for row in expired]


def forget(
    connection: sqlite3.Connection, tombstones_before: datetime, keys_before: datetime, rows_max: int
) -> int:
    """Drop old tombstones and keys."""
    dropped = connection.execute(
        "DELETE FROM tombstones WHERE job_id IN"
        " (SELECT job_id FROM tombstones WHERE expired_at < ? ORDER BY expired_at LIMIT ?)",
        (tombstones_before.isoformat(), rows_max),
    ).rowcount
    dropped += connection.execute(
        "DELETE FROM idempotency WHERE key IN"
        " (SELECT key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)",
        (keys_before.isoformat(), rows_max),
    ).rowcount
    return dropped


def sweep(connection: sqlite3.Connection, bytes_max: int) -> tuple[bool, int | None]:
    """Take a piece away of what hangs on some dead owner, else free pages off the file's end.

    Whether there is more, and the owner if nothing of it is left in the database.
    """
    row = connection.execute("SELECT id FROM owners WHERE dead LIMIT 1").fetchone()
    if row is None:
        return _shrink(connection, bytes_max), None
    (owner,) = row
    for table in ("segments", "blocks"):
        if rows := _largest_piece(connection, table, owner, bytes_max):
            connection.executemany(f"DELETE FROM {table} WHERE rowid = ?", rows)
            return True, None
    for table, key in (("notes", "rowid"), ("file_uses", "(file_id, owner)"), ("digests", "owner")):
        columns = key.strip("()")
        if connection.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} WHERE owner = ? LIMIT ?)",
            (owner, ROWS_MAX),
        ).rowcount:
            return True, None
    connection.execute("DELETE FROM owners WHERE id = ?", (owner,))
    return True, owner


def _largest_piece(
    connection: sqlite3.Connection, table: str, owner: int, bytes_max: int
) -> list[tuple[int]]:
    """Rows of the owner, together about as large as allowed; at least one, if there is any."""
    rows: list[tuple[int]] = []
    size = 0
    for rowid, length in connection.execute(
        f"SELECT rowid, length(lines) FROM {table} WHERE owner = ? LIMIT ?", (owner, ROWS_MAX)
    ):
        rows.append((rowid,))
        size += length
        if size >= bytes_max:
            break
    return rows


def _shrink(connection: sqlite3.Connection, bytes_max: int) -> bool:
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (all_pages,) = connection.execute("PRAGMA page_count").fetchone()
    spare = int(free - max(SLACK_PAGES, all_pages * SLACK_SHARE))
    if not mode or spare <= 0:
        return False
    pages = min(spare, max(1, bytes_max // page_bytes))
    for _ in range(pages):  # asked for several, this pragma frees one a step, and Python makes but one step
        connection.execute("PRAGMA incremental_vacuum(1)")
    return bool(spare > pages)
