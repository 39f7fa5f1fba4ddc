"""After a loss of power: the write-ahead log is cut off before the first payload that did not get to the disk.

How it works: SQLite drops what is broken at the log's end, by checksums (sqlite.org/wal.html).  A transaction may be
whole there, and a payload of it, in a file of its own, not.  Then the log is cut where a transaction ends
(sqlite.org/fileformat2.html#walformat), one transaction at a time, until no row names a payload that is lost.  What is
in the database already has its payloads on the disk (payloads), so the log is never cut before that.

Invariant: what is left is a state that there was, with all that was committed up to some moment.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.stores.payloads import Payloads

SCHEMA_MIN = 5
"""With payloads."""
_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24

_Row = tuple[str, int, int, int, int, int]

_LOOSE = " UNION ALL ".join(
    f"SELECT '{table}', {table}.rowid, owner, place, size, checksum FROM owners"
    f" JOIN {table} ON owner = owners.id AND place >= loose WHERE loose IS NOT NULL AND NOT dead"
    for table in ("blocks", "segments")
)

log = logging.getLogger(__name__)


@contextmanager
def recovered(path: Path, payloads: Payloads) -> Iterator[None]:
    """Around the opening of a database that nobody serves; nothing is done to one that was closed.

    What was read of the log meanwhile need not be read again.
    """
    wal = path.with_name(f"{path.name}-wal")
    with closing(_opened(path) if wal.exists() and wal.stat().st_size else sqlite3.connect("")) as connection:
        rows = _loose(connection)
        lost = {row for row in rows if payloads.whole(*row[2:]) is None}
        if not lost:
            payloads.adopt({row[2] for row in rows})
            yield
            return
    _cut(path, wal, lost)
    payloads.adopt({row[2] for row in rows})
    yield


def _cut(path: Path, wal: Path, lost: set[_Row]) -> None:
    """Until none of these rows is there, or nothing is left to be cut, and the log stays as it was."""

    def are_there() -> bool:
        with closing(_opened(path)) as connection:
            return not lost.isdisjoint(_loose(connection))

    kept = wal.with_name(f"{wal.name}.whole")
    shutil.copyfile(wal, kept)
    ends = _ends(wal)
    number = len(ends)
    while ends and are_there():
        ends.pop()
        os.truncate(wal, ends[-1] if ends else 0)
    if are_there():
        kept.replace(wal)
        log.error("payloads are lost; `python -m app check` tells which")
    else:
        kept.unlink()
        log.warning(
            "a loss of power took the last %d transactions: their payloads were lost", number - len(ends)
        )


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _loose(connection: sqlite3.Connection) -> list[_Row]:
    """The rows whose payloads may not be on the disk, and are somebody's: those of the dead may be gone."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return connection.execute(_LOOSE).fetchall() if version >= SCHEMA_MIN else []


def _ends(wal: Path) -> list[int]:
    """Where each transaction of the log ends."""
    ends = []
    with wal.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        page_bytes, salts = int.from_bytes(header[8:12]), header[16:24]
        at = _HEADER_BYTES
        while len(frame := file.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES and frame[8:16] == salts:
            at += _FRAME_HEADER_BYTES + page_bytes
            if any(frame[4:8]):  # the size of the database after this commit
                ends.append(at)
            file.seek(at)
    return ends
