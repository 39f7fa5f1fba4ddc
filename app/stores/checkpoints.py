"""Moves what was committed from the write-ahead log into the database, beside the writer.

How it works: a commit only adds to the log (sqlite.org/wal.html).  Whenever that has grown by a step, something has
waited there for a second, or nothing was written for a moment, a thread with a connection of its own copies what is
there, and waits for the disk, while the writer goes on.  The log begins anew with the first write before which all of
it was copied; so once it is at its limit, the writer itself copies the little that is left before it goes on.

Invariant: the log holds at most a step and a transaction more than `LOG_BYTES_MAX`, unless somebody reads one state of
the database all the while (a backup does), or the database's file cannot be written to.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

STEP_BYTES = 16 << 20
LOG_BYTES_MAX = 64 << 20
"""Also what is read again at the start after a crash."""
AGE_SECONDS_MAX = 1.0
"""While a little is written all the time, the log is emptied so often: only then is a file that shrank smaller."""

log = logging.getLogger(__name__)


class Checkpoints:
    """Those of one database."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        prepared: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        step_bytes: int = STEP_BYTES,
        log_bytes_max: int = LOG_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connection` is used for nothing else; it is closed in the end.  Within `prepared` the log may be moved."""
        self._log = path.with_name(f"{path.name}-wal")
        self._connection = connection
        self._prepared = prepared
        self._step_bytes = step_bytes
        self._log_bytes_max = log_bytes_max
        self._moving = threading.Lock()
        """Held while there is copied."""
        self._copied_at = 0
        """How large the log was when that began last; less, if it began anew since."""
        self._clock = clock
        self._waits_since: float | None = None
        """When something was first written after that; None if nothing was."""
        self._failing = False
        self.under_way = False
        """Whether what `begin` was to move may not be moved yet."""
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._move_forever, name="store-checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Once what is under way is done.  What is left in the log is moved by who closes the database last."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._connection.close()

    def written(self) -> None:
        """Something was written; the writer calls this between two transactions."""
        size = self._size()
        self._copied_at = min(self._copied_at, size)
        now, since = self._clock(), self._waits_since
        if since is None:
            since = self._waits_since = now
        if size - self._copied_at < self._step_bytes and now - since < AGE_SECONDS_MAX:
            return
        if size < self._log_bytes_max:
            self._wake.set()
        else:
            self._move()

    def begin(self) -> None:
        """Move what is there, beside whatever comes."""
        self.under_way = True
        self._wake.set()

    def _move_forever(self) -> None:
        while self._wake.wait() and not self._stopping:
            self._wake.clear()
            self._move()
            self.under_way = False

    def _move(self) -> None:
        """Copy all that no reader keeps from being copied.  It can be tried again at any time."""
        with self._moving:
            self._copied_at, self._waits_since = self._size(), None
            try:
                with self._prepared():
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._failing = False
            except (sqlite3.Error, OSError) as error:
                if not self._failing:  # said once
                    log.warning("the write-ahead log cannot be moved into the database, and grows: %s", error)
                self._failing = True

    def _size(self) -> int:
        """Above a step, that is what the log holds: `journal_size_limit` has its file cut off when it begins anew."""
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0
