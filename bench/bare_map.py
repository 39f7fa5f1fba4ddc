"""`Pool.imap_unordered`, whose results are kept and passed on: what of such a job nobody could do without.

    python -m bench.bare_map DATABASE TASK   reads JSON arrays, has `workers.tasks.faults.TASK` run on each item, and
                                             writes the items' lines

What has come in 150 ms is one row of an SQLite database, committed before it is written to stdout, where an empty line
ends a job.  Nothing is checked, told to anybody else, shared fairly or taken up after a crash, and an item that takes
its worker with it is never heard of again.
"""

import sqlite3
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.pool import Pool
from time import monotonic

import msgspec

from app.service.writer import PAUSE_SECONDS
from bench.scale import WORKERS
from workers.tasks import faults

ITEMS_AT_ONCE = 10
"""Results of so many items come back together: about as often as the service's, for items of 10 ms."""


def main() -> None:
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE results (id INTEGER PRIMARY KEY, lines BLOB NOT NULL) STRICT")
    with get_context("forkserver").Pool(WORKERS) as pool:
        for order in sys.stdin.buffer:
            _run(pool, connection, getattr(faults, sys.argv[2]), msgspec.json.decode(order))
            _write(b"\n")


def _run(
    pool: Pool, connection: sqlite3.Connection, task: Callable[[float], float], items: Sequence[float]
) -> None:
    lines: list[bytes] = []
    kept_at = monotonic()
    for number, output in enumerate(pool.imap_unordered(task, items, ITEMS_AT_ONCE), start=1):
        lines.append(b'{"output":%b}\n' % msgspec.json.encode(output))
        if number == len(items) or monotonic() - kept_at >= PAUSE_SECONDS:
            text = b"".join(lines)
            connection.execute("INSERT INTO results (lines) VALUES (?)", (text,))
            _write(text)
            lines.clear()
            kept_at = monotonic()


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
