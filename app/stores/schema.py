"""The database's schema: numbered SQL scripts, run once each, in order, never changed once released."""

import sqlite3
from importlib import resources

from app.domain.errors import ServiceError

SHRINKABLE_BYTES_MAX = 256 << 20
"""A database made before it could shrink is rewritten once, if it is no larger: that takes a second or two."""

_INCREMENTAL = 2


def scripts() -> list[str]:
    """The schema's steps, from nothing to the newest."""
    directory = resources.files("app.stores.migrations")
    names = sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(".sql"))
    return [directory.joinpath(name).read_text() for name in names]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, a step a transaction.  ServiceError if it is newer than this code."""
    steps = scripts()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise ServiceError(
            f"The database has schema {version}, this Millpond knows {len(steps)}. Run the newer Millpond again."
        )
    for number, script in enumerate(steps[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
    if version < len(steps):
        _let_shrink(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _let_shrink(connection: sqlite3.Connection) -> None:
    """Have the file give pages back (sqlite.org/pragma.html#pragma_auto_vacuum); else it only uses them again."""
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if mode != _INCREMENTAL and pages * page_bytes <= SHRINKABLE_BYTES_MAX:
        connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        connection.execute("VACUUM")
