"""SQLite behind an event loop: one thread that writes, a few that read.

How it works: writes wait in a queue; the writer takes all that are there, runs one after the other, and commits them
together, so that under load one commit serves many.  If one fails, none is kept, and all are run again, each in a
savepoint of its own.  A write's caller is answered after the commit.  What was committed is moved from the
write-ahead log into the database by others (checkpoints).  Large payloads stand beside it (payloads), and come and go
with the transactions that name them.

Invariant: a write that was answered is committed; one that raised changed nothing.
"""

import asyncio
import contextlib
import errno
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from app.domain.errors import ServiceError, StorageFull, StorageUnavailable
from app.stores.checkpoints import STEP_BYTES, Checkpoints
from app.stores.payloads import DIRECTORY, INLINE_BYTES_MAX, Durability, Gone, Payloads
from app.stores.recovery import recovered

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
"""Changes nothing but the database and its payloads: it may be run, undone, and run again."""
_Entry = tuple[Write[Any], asyncio.Future[Any]]
_Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]

READERS = 2
GROUP_MAX = 256
BUSY_SECONDS = 5.0
"""How long a write waits for another process that holds the database locked."""
QUIET_SECONDS = 0.5
"""Once nothing was written for so long, the write-ahead log is emptied, and begun anew."""

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "Another process holds the database locked.",
    sqlite3.SQLITE_LOCKED: "Another process holds the database locked.",
    sqlite3.SQLITE_PROTOCOL: "Another process holds the database locked.",
    sqlite3.SQLITE_READONLY: "The disk, or the database on it, cannot be written to.",
    sqlite3.SQLITE_PERM: "The disk, or the database on it, cannot be written to.",
    sqlite3.SQLITE_CANTOPEN: "A file of the database cannot be opened.",
    sqlite3.SQLITE_IOERR: "The disk fails to read or to write.",
    sqlite3.SQLITE_NOMEM: "There is not memory enough.",
}
"""By primary result code (sqlite.org/rescode.html): what may pass."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FULL_BELOW_BYTES = 1 << 20
RETRY_AFTER_SECONDS = 5

log = logging.getLogger(__name__)


def connect(path: Path, durability: Durability) -> sqlite3.Connection:
    """A connection with our settings; transactions are explicit."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL survives the death of the process; only FULL also waits for the disk (sqlite.org/pragma.html).
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -8192")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {STEP_BYTES}")
    return connection


def translated(error: sqlite3.Error | OSError, directory: Path) -> ServiceError:
    """The store's trouble in the service's words."""
    if isinstance(error, OSError):  # of a payload's file
        code = sqlite3.SQLITE_FULL if error.errno in _FULL else sqlite3.SQLITE_IOERR
    else:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(directory)):
        return StorageFull(
            "The disk is full. Nothing was changed; free some space and try again.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )
    if code in _UNAVAILABLE:
        return StorageUnavailable(
            f"{_UNAVAILABLE[code]} Nothing was changed; try again.", retry_after_seconds=RETRY_AFTER_SECONDS
        )
    if code in _DAMAGED:
        return ServiceError(f"The database is damaged; `python -m app check` tells where. ({error})")
    return ServiceError(f"The store failed: {error}")


def _is_full(directory: Path) -> bool:
    """SQLite tells a full disk from a failing one for some of its files only."""
    try:
        stat = os.statvfs(directory)
    except OSError:
        return False
    return stat.f_bavail * stat.f_frsize < _FULL_BELOW_BYTES


class Database:
    """A database file, opened once for writing and a few times for reading."""

    def __init__(
        self,
        path: Path,
        durability: Durability,
        on_commit: Callable[[float], None] = lambda _: None,
        inline_bytes_max: int = INLINE_BYTES_MAX,
        on_read: Callable[[], object] = lambda: None,
    ) -> None:
        """`on_commit` is told, on the writer's thread, how many seconds a group took; `on_read`, that one is asked."""
        self.payloads = Payloads(path.with_name(DIRECTORY), durability, inline_bytes_max)
        self._path = path
        self._on_commit = on_commit
        self._on_read = on_read
        self._durability: Durability = durability
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lost = False
        """Whether the writer's connection had to be closed, and is to be opened again."""

    def open(self) -> sqlite3.Connection:
        """Start; the connection returned is the writer's, to migrate with before the first write."""
        try:
            with contextlib.ExitStack() as opened, recovered(self._path, self.payloads):
                self._writer = opened.enter_context(contextlib.closing(connect(self._path, self._durability)))
                self._state = opened.enter_context(contextlib.closing(connect(self._path, self._durability)))
                self._checkpoints = Checkpoints(
                    self._path,
                    connect(self._path, self._durability),
                    lambda: self.payloads.on_disk(self._state),
                )
                opened.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise self.translated(error) from error
        self._thread = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._thread.start()
        self._checkpoints.start()
        return self._writer

    def translated(self, error: sqlite3.Error | OSError) -> ServiceError:
        return translated(error, self._path.parent)

    def close(self) -> None:
        """Finish the writes that wait, then stop."""
        self._queue.put(None)
        self._thread.join()
        self._checkpoints.stop()
        self._settle()
        self._readers.shutdown()
        for connection in (*self._connections, self._state, self._writer):
            connection.close()

    def _settle(self) -> None:
        """Have all payloads on the disk, before the last connection moves what is left in the log, and say so."""
        try:
            with self.payloads.on_disk(self._state):
                pass
            if self.payloads.untold and not self._lost:
                self._writer.execute("BEGIN IMMEDIATE")
                with self.payloads.committing(self._writer):
                    self._writer.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            log.warning("the payloads may not all be on the disk: %s", error)
            self._roll_back()

    async def write(self, change: Write[T]) -> T:
        """Run `change` in a transaction, and return once it is committed."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((change, future))
        return await future

    async def read(self, look: Write[T]) -> T:
        """Run `look` on a reader's thread; it sees one state of the database."""

        def run() -> T:
            try:
                connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
                if connection is None:
                    connection = self._local.connection = connect(self._path, self._durability)
                    self._connections.append(connection)
                try:
                    return _looked(connection, look)
                except Gone:  # in a newer state so is its row, unless it is lost
                    return _looked(connection, look)
            except (sqlite3.Error, OSError) as error:
                raise self.translated(error) from error

        self._on_read()
        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def remove_payloads(self, owner: int) -> None:
        """In a thread: to free much takes long.  What fails is done at the next start."""
        try:
            if self.payloads.exist(owner):
                await asyncio.to_thread(self.payloads.remove, owner)
        except OSError as error:
            raise self.translated(error) from error

    def _write_forever(self) -> None:
        last = False
        while not last:
            group = [self._next()]
            while len(group) < GROUP_MAX:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            writes = [entry for entry in group if entry is not None]
            last = len(writes) < len(group)
            began = time.monotonic()
            self._commit([entry for entry in writes if not entry[1].cancelled()])
            self._checkpoints.written()
            self._on_commit(time.monotonic() - began)

    def _next(self) -> _Entry | None:
        """What waits first; while nothing does, the log is emptied, and begun anew."""
        with contextlib.suppress(queue.Empty):
            return self._queue.get(timeout=QUIET_SECONDS)
        self._checkpoints.begin()
        while self._checkpoints.under_way:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=QUIET_SECONDS)
        self._begin_log()
        return self._queue.get()

    def _begin_log(self) -> None:
        """Write what is there already, so that whoever comes first after a pause does not wait for the disk.

        The first write after all of the log was copied overwrites its head, and syncs that (sqlite.org/wal.html).
        """
        if self._lost:
            return
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("PRAGMA application_id = 0")
            with self.payloads.committing(self._writer):
                self._writer.execute("COMMIT")
        except (sqlite3.Error, OSError):  # somebody's write will tell, if that lasts
            self._roll_back()

    def _commit(self, group: list[_Entry]) -> None:
        """One transaction for the whole group."""
        if not group:
            return
        try:
            if self._lost:
                self._writer = connect(self._path, self._durability)
                self._lost = False
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = self._run(group)
            with self.payloads.committing(self._writer):
                self._writer.execute("COMMIT")
        except BaseException as error:
            reason = self.translated(error) if isinstance(error, sqlite3.Error | OSError) else error
            outcomes = [(future, None, reason) for _, future in group]
            self._roll_back()
        by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
        for outcome in outcomes:
            by_loop.setdefault(outcome[0].get_loop(), []).append(outcome)
        for loop, its in by_loop.items():
            with contextlib.suppress(RuntimeError):  # it is closed: nobody waits any more
                loop.call_soon_threadsafe(_answer, its)

    def _run(self, group: list[_Entry]) -> list[_Outcome]:
        """All changes; if one fails, those that do not."""
        try:
            return [(future, change(self._writer), None) for change, future in group]
        except BaseException:
            # If it is alone, nobody else's change is lost with it; and SQLite itself may have rolled everything back.
            if len(group) == 1 or not self._writer.in_transaction:
                raise
        self.payloads.undo()
        self._writer.execute("ROLLBACK")
        self._writer.execute("BEGIN IMMEDIATE")
        return [(future, *self._attempt(change)) for change, future in group]

    def _roll_back(self) -> None:
        """Nothing of the transaction is to stay, even if the connection has to go for that."""
        self.payloads.undo()
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._lost = True
            self._writer.close()

    def _attempt(self, change: Write[Any]) -> tuple[Any, BaseException | None]:
        self._writer.execute("SAVEPOINT change")
        mark = self.payloads.mark()
        try:
            result = change(self._writer)
        except BaseException as error:
            if not self._writer.in_transaction:  # SQLite itself rolled everything back: fail the whole group
                raise
            self._writer.execute("ROLLBACK TO change")
            self._writer.execute("RELEASE change")
            self.payloads.undo(mark)
            return None, self.translated(error) if isinstance(error, sqlite3.Error | OSError) else error
        self._writer.execute("RELEASE change")
        return result, None


def _answer(outcomes: list[_Outcome]) -> None:
    """Tell, on their loop, those who still wait."""
    for future, result, failure in outcomes:
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)


def _looked(connection: sqlite3.Connection, look: Write[T]) -> T:
    if connection.in_transaction:  # which the end of an earlier look failed to end
        connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    try:
        return look(connection)
    finally:
        if connection.in_transaction:  # which an error may have ended
            connection.execute("ROLLBACK")
