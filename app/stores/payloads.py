"""Large payloads (blocks, segments) in files that only grow, one for each owner, beside the database.

How it works: within a transaction the writer appends the bytes, and its row says where they are; so they are written
once, and not into the write-ahead log and the database.  What a transaction that failed has appended is cut off again.
What a crash left of one stands in the file, named by no row, until the file goes with its owner.  Files are opened
for each use: that takes microseconds, and nothing is to be kept.

With durability `power` a file is on the disk before its rows are committed.  With `process` it is there before its
rows get from the log into the database; until then the owner is `loose` from some offset on, which `recovery` looks at.

Whatever a sync could not bring to the disk, the kernel takes for written from then on (fsync(2); Rebello et al., "Can
applications recover from fsync failures?", 2020): to sync again would succeed, and mean nothing.  So it is written
again first; what a transaction had appended is cut off, and comes anew with the next one.  The names of files are
only synced again: file systems keep them in a journal, and when that cannot be written they take nothing any more
(ext4(5), `errors`; XFS and Btrfs shut down), so that no later sync succeeds without them.

Invariant: bytes that a committed row names are never changed, nor cut off.
"""

import errno
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal

from app.domain.errors import ServiceError
from app.stores.names import sync_directory

Durability = Literal["process", "power"]
Columns = tuple[bytes, int | None, int | None, int | None]
"""`lines`, `place`, `size` and `checksum` of a row: the last three are NULL if the lines stand in it."""

DIRECTORY = "payloads"
OWNERS = """
    SELECT owner FROM blocks WHERE place IS NOT NULL UNION SELECT owner FROM segments WHERE place IS NOT NULL"""
"""Those with rows that name a place in their file."""
COLUMNS = "lines, place, size, checksum"
SIZE = "coalesce(size, length(lines))"
INLINE_BYTES_MAX = 64 << 10
"""A smaller payload is cheaper in the database: a file of its own is made, synced and removed again."""
KEPT_BYTES = 16 << 20
KEPT_SHARE = 0.02
"""Of the disk, the less of the two: no payload takes that, so that to delete, and to free what was, has room."""
ROW_BYTES = 32 << 10
"""About what a new job's row, its owner's, its block's and their indexes add to the log."""
LOOK_SECONDS = 0.1
"""What others write of the disk meanwhile is not known."""
_STRIDE_BYTES = 512
_LOOSE = " UNION ALL ".join(
    f"SELECT place, size, checksum FROM owners JOIN {table} ON owner = owners.id AND place >= loose"
    " WHERE owners.id = ?1"
    for table in ("blocks", "segments")
)
"""The rows of an owner whose payloads may not be on the disk."""

log = logging.getLogger(__name__)


class Gone(ServiceError):
    """The owner's file is not there: it was swept away since its row was read, or it is lost."""


class Payloads:
    """Those of one database.  One thread writes; any may read."""

    def __init__(
        self, directory: Path, durability: Durability = "process", inline_bytes_max: int = INLINE_BYTES_MAX
    ) -> None:
        """The directory is made with the first file."""
        self._directory = directory
        self._durability = durability
        self._inline_bytes_max = inline_bytes_max
        self._written: list[tuple[int, int, int]] = []
        """(owner, start, end) of what the transaction under way has appended, in order."""
        self._lock = threading.Lock()
        self._unsynced: dict[int, int] = {}
        """Owners, and how much of their files is committed, but perhaps not on the disk."""
        self._doubtful: set[int] = set()
        """Those of which a sync has failed, or may have before the start."""
        self._synced: dict[int, int] = {}
        """How much is, which the database does not know yet."""
        self._left_bytes, self._looked_at = 0, 0.0
        """What payloads may take of the disk, since when that was looked up."""
        self._named = False
        """Whether the directory's own name is known to be on the disk; who made it may have failed, or died."""

    # -- Reading

    def lines(self, row: sqlite3.Row) -> bytes:
        """Of a row with an owner and `COLUMNS`.  ServiceError if they are not there, or not all of them."""
        if row["place"] is None:
            lines: bytes = row["lines"]
            return lines
        text = self._read(row["owner"], row["place"], row["size"])
        if len(text) < row["size"]:
            raise ServiceError(f"{self._path(row['owner'])} is damaged; `python -m app check` tells where.")
        return text

    def whole(self, owner: int, place: int, size: int, checksum: int) -> bytes | None:
        """What the row says is in the file, unless a page of it is another's or missing."""
        try:
            text = self._read(owner, place, size)
        except Gone:
            return None
        return text if _is_whole(text, size, checksum) else None

    @property
    def untold(self) -> bool:
        """Whether the database does not know yet what is on the disk."""
        return bool(self._synced)

    # -- Writing, in a transaction

    def inline(self, text: bytes) -> bool:
        """Whether it is better put into its row."""
        return len(text) <= self._inline_bytes_max

    def add(self, owner: int, text: bytes) -> Columns:
        """Put a payload where it belongs; the columns of its row.  OSError ENOSPC if there is no room for it."""
        if not self._fits(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.inline(text):
            return text, None, None, None
        descriptor = self._opened(owner)
        try:
            place = os.lseek(descriptor, 0, os.SEEK_END)
            self._written.append((owner, place, place + len(text)))
            _put(descriptor, text, place)
        finally:
            os.close(descriptor)
        return b"", place, len(text), _checksum(text)

    def mark(self) -> int:
        """To `undo` what is added from now on."""
        return len(self._written)

    def undo(self, mark: int = 0) -> None:
        """Cut off what was added since, or in the whole transaction; what cannot be cut stays as nobody's."""
        for owner, start, _ in reversed(self._written[mark:]):
            with suppress(OSError):
                if start:
                    os.truncate(self._path(owner), start)
                else:
                    self.remove(owner)
        del self._written[mark:]

    def committing(self, connection: sqlite3.Connection) -> AbstractContextManager[None]:
        """Around the commit: what must be so before it, and what follows from it."""
        return self._committing(connection) if self._written or self._synced else nullcontext()

    @contextmanager
    def _committing(self, connection: sqlite3.Connection) -> Iterator[None]:
        starts = {owner: start for owner, start, _ in reversed(self._written)}
        ends = {owner: end for owner, _, end in self._written}
        if self._durability == "power":
            self._sync(starts)
            starts = ends = {}
        with self._lock:
            synced, self._synced = self._synced, {}
            loose = {owner: end if owner in self._unsynced else None for owner, end in synced.items()}
        _tell(connection, "UPDATE owners SET loose = ?2 WHERE id = ?1", loose.items())
        _tell(connection, "UPDATE owners SET loose = ?2 WHERE id = ?1 AND loose IS NULL", starts.items())
        with self._lock:  # so that `on_disk` sees both or neither
            yield
            self._unsynced |= ends
        self._written.clear()

    # -- Keeping house

    @contextmanager
    def on_disk(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Have the connection read, meanwhile, a state whose payloads are all on the disk.

        So no later state gets into the database (sqlite.org/wal.html: a checkpoint stops at what a reader reads).
        """
        try:
            with self._lock:
                connection.execute("BEGIN")
                connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
                unsynced, self._unsynced = self._unsynced, {}
            try:
                self._write_again(connection, self._doubtful & unsynced.keys())
                self._sync(unsynced)
            except OSError:
                self._doubtful |= unsynced.keys()
                with self._lock:
                    self._unsynced = unsynced | self._unsynced
                raise
            self._doubtful -= unsynced.keys()
            with self._lock:
                self._synced |= unsynced
            yield
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def adopt(self, owners: Iterable[int]) -> None:
        """Their files are whole, and may not be on the disk."""
        for owner in owners:
            with suppress(FileNotFoundError):
                self._unsynced[owner] = self._path(owner).stat().st_size
                self._doubtful.add(owner)

    def exist(self, owner: int) -> bool:
        return self._path(owner).exists()

    def remove(self, owner: int) -> None:
        """Its rows are gone; harmless if the file is."""
        self._path(owner).unlink(missing_ok=True)

    def owners(self) -> list[int]:
        """Who has a file."""
        with suppress(FileNotFoundError):
            return [int(path.name) for path in self._directory.iterdir() if path.name.isdecimal()]
        return []

    def _fits(self, text: bytes) -> bool:
        """Whether enough of the disk is left.  What is left is told by the system, now and then, and reckoned between.

        The database writes what it holds twice, and with a row the pages of what changes beside it.
        """
        needed = len(text) + ROW_BYTES
        self._left_bytes -= len(text) + needed
        now = time.monotonic()
        if self._left_bytes < 0 or now > self._looked_at + LOOK_SECONDS:
            disk = os.statvfs(self._directory.parent)
            kept = min(KEPT_BYTES, int(disk.f_blocks * disk.f_frsize * KEPT_SHARE))
            self._left_bytes, self._looked_at = disk.f_bavail * disk.f_frsize - kept - needed, now
        return self._left_bytes >= 0

    def _path(self, owner: int) -> Path:
        return self._directory / str(owner)

    def _opened(self, owner: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path(owner), flags, 0o644)
        except FileNotFoundError:
            self._directory.mkdir(exist_ok=True)
            return os.open(self._path(owner), flags, 0o644)

    def _read(self, owner: int, place: int, size: int) -> bytes:
        """As much as there is."""
        try:
            descriptor = os.open(self._path(owner), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Gone(
                f"{self._path(owner)} is not there; `python -m app check` tells what is lost."
            ) from None
        try:
            return os.pread(descriptor, size, place)
        finally:
            os.close(descriptor)

    def _write_again(self, connection: sqlite3.Connection, owners: Iterable[int]) -> None:
        """What of theirs may not be on the disk, as it is read; of what is damaged by now nothing can be saved."""
        for owner in owners:
            with suppress(FileNotFoundError):  # it was swept away
                descriptor = os.open(self._path(owner), os.O_RDWR | os.O_CLOEXEC)
                try:
                    for place, size, checksum in connection.execute(_LOOSE, (owner,)):
                        text = os.pread(descriptor, size, place)
                        if _is_whole(text, size, checksum):
                            _put(descriptor, text, place)
                        else:
                            log.error("%s is damaged; `python -m app check` tells where", self._path(owner))
                finally:
                    os.close(descriptor)

    def _sync(self, owners: Iterable[int]) -> None:
        """Wait until their files, as they are now, and the names of these and of the directory are on the disk."""
        some = False
        for owner in owners:
            with suppress(FileNotFoundError):  # it was swept away
                descriptor = os.open(self._path(owner), os.O_RDONLY | os.O_CLOEXEC)
                some = True
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
        if some:
            sync_directory(self._directory)
            if not self._named:
                sync_directory(self._directory.parent)
                self._named = True


def _put(descriptor: int, text: bytes, place: int) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.pwrite(descriptor, rest, place + len(text) - len(rest)) :]


def _is_whole(text: bytes, size: int, checksum: int) -> bool:
    return len(text) == size and _checksum(text) == checksum


def _checksum(text: bytes) -> int:
    """Of one byte in `_STRIDE_BYTES`: enough to find a page that was never written, at a tenth of the cost of all."""
    return zlib.crc32(text[::_STRIDE_BYTES])


def _tell(connection: sqlite3.Connection, statement: str, rows: Iterable[tuple[int, int | None]]) -> None:
    if rows := list(rows):
        connection.executemany(statement, rows)
