"""Whose each file is.

A file is stored once, however many callers uploaded it; it has a row for each of them, and one for each job that names
it.
"""

import sqlite3
from collections.abc import Sequence

from app.domain.errors import Conflict
from app.stores.payloads import SIZE

_USERS = """
    SELECT coalesce(jobs.id, 'that is being submitted') FROM file_uses
    JOIN owners ON owners.id = owner AND NOT dead LEFT JOIN jobs USING (owner) WHERE file_id = ?
"""


def strange(connection: sqlite3.Connection, file_ids: Sequence[str], caller: str) -> list[str]:
    """Those that the caller neither uploaded nor was given by a job."""
    return [
        file_id
        for file_id in file_ids
        if not connection.execute(
            "SELECT 1 FROM files WHERE id = ? AND uploaded_by = ? UNION ALL"
            " SELECT 1 FROM file_uses JOIN jobs USING (owner) WHERE file_id = ? AND made AND submitted_by = ?",
            (file_id, caller, file_id, caller),
        ).fetchone()
    ]


def delete(connection: sqlite3.Connection, file_id: str, uploaded_by: str | None) -> bool:
    """Forget that the caller, or anybody, uploaded it; whether it is nobody's now."""
    if uploaded_by is None:
        own = _user_of(connection, file_id)
    else:
        row = connection.execute(f"{_USERS} AND submitted_by = ?", (file_id, uploaded_by)).fetchone()
        own = row and str(row[0])
    if own:
        raise Conflict(f"Job {own} names this file, in an item or a result; DELETE the job first.")
    connection.execute(
        "DELETE FROM files WHERE id = ? AND uploaded_by = coalesce(?, uploaded_by)", (file_id, uploaded_by)
    )
    others = connection.execute("SELECT 1 FROM files WHERE id = ?", (file_id,)).fetchone()
    return others is None and _user_of(connection, file_id) is None


def stored_bytes(connection: sqlite3.Connection, caller: str) -> int:
    """What is the caller's.  Lengths stand at the beginning of a row: what the rows hold is not read."""
    (size,) = connection.execute(
        f"SELECT (SELECT coalesce(sum({SIZE}), 0) FROM jobs JOIN blocks USING (owner) WHERE submitted_by = :name)"
        f" + (SELECT coalesce(sum({SIZE}), 0) FROM jobs JOIN segments USING (owner) WHERE submitted_by = :name)"
        " + (SELECT coalesce(sum(size_bytes), 0) FROM files WHERE uploaded_by = :name AND uploaded_by != '')",
        {"name": caller},
    ).fetchone()
    return int(size)


def forget(connection: sqlite3.Connection, file_ids: Sequence[str]) -> list[str]:
    """Forget those that no job names."""
    unused = [file_id for file_id in file_ids if _user_of(connection, file_id) is None]
    connection.executemany("DELETE FROM files WHERE id = ?", [(file_id,) for file_id in unused])
    return unused


def _user_of(connection: sqlite3.Connection, file_id: str) -> str | None:
    """Some job, or submission under way, that names the file."""
    row = connection.execute(_USERS, (file_id,)).fetchone()
    return row and str(row[0])
