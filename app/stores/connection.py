"""SQLite behind an event loop: one thread that writes, a few that read.

How it works: writes wait in a queue; the writer takes all that are there, runs each in a savepoint, and commits
them together, so that under load one commit serves many.  A write's caller is answered after that commit.

Invariant: a write that was answered is committed; one that raised changed nothing.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from app.domain.errors import MillpondError, ServiceError, StorageFull

T = TypeVar("T")
Durability = Literal["process", "power"]
Write = Callable[[sqlite3.Connection], T]

READERS = 2
GROUP_MAX = 256
BUSY_SECONDS = 5.0

_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The last is the file of the write-ahead log's index, which cannot be made or grown."""


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
    return connection


def translated(error: sqlite3.Error) -> ServiceError:
    """The store's trouble in the service's words."""
    if getattr(error, "sqlite_errorcode", None) in _FULL:
        return StorageFull("The disk is full. Nothing was changed; free some space and try again.")
    return ServiceError(f"The store failed: {error}")


class Database:
    """A database file, opened once for writing and a few times for reading."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._durability: Durability = durability
        self._queue: queue.SimpleQueue[tuple[Write[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def open(self) -> sqlite3.Connection:
        """Start; the connection returned is the writer's, to migrate with before the first write."""
        try:
            self._writer = connect(self._path, self._durability)
        except sqlite3.Error as error:
            raise translated(error) from error
        self._thread = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._thread.start()
        return self._writer

    def close(self) -> None:
        """Finish the writes that wait, then stop."""
        self._queue.put(None)
        self._thread.join()
        self._readers.shutdown()
        for connection in (*self._connections, self._writer):
            connection.close()

    async def write(self, change: Write[T]) -> T:
        """Run `change` in a transaction, and return once it is committed."""
        future: Future[T] = Future()
        self._queue.put((change, future))
        return await asyncio.wrap_future(future)

    async def read(self, look: Write[T]) -> T:
        """Run `look` on a reader's thread; it sees one state of the database."""

        def run() -> T:
            try:
                connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
                if connection is None:
                    connection = self._local.connection = connect(self._path, self._durability)
                    self._connections.append(connection)
                connection.execute("BEGIN")
                try:
                    return look(connection)
                finally:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise translated(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _write_forever(self) -> None:
        last = False
        while not last:
            group = [self._queue.get()]
            while len(group) < GROUP_MAX:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            writes = [entry for entry in group if entry is not None]
            last = len(writes) < len(group)
            self._commit([entry for entry in writes if entry[1].set_running_or_notify_cancel()])

    def _commit(self, group: list[tuple[Write[Any], Future[Any]]]) -> None:
        """One transaction for the whole group; each write in a savepoint of its own."""
        if not group:
            return
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for change, future in group:
                outcomes.append((future, *self._attempt(change)))
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            reason = translated(error)
            outcomes = [(future, None, reason) for _, future in group]
        for future, result, failure in outcomes:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _attempt(self, change: Write[Any]) -> tuple[Any, BaseException | None]:
        self._writer.execute("SAVEPOINT change")
        try:
            result = change(self._writer)
        except (MillpondError, sqlite3.Error) as error:
            if not self._writer.in_transaction:  # SQLite itself rolled everything back: fail the whole group
                raise
            self._writer.execute("ROLLBACK TO change")
            self._writer.execute("RELEASE change")
            return None, translated(error) if isinstance(error, sqlite3.Error) else error
        except BaseException as error:
            self._writer.execute("ROLLBACK TO change")
            self._writer.execute("RELEASE change")
            return None, error
        self._writer.execute("RELEASE change")
        return result, None
