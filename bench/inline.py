"""`python -m bench.inline`: from which size on a payload is cheaper in a file of its own than in the database.

Jobs with one payload each are stored, deleted and swept away, once with every payload in its row and once with every
payload in a file.  What is told is the CPU time of all threads for a job, the store's own included, as the least of
several runs in turns: `app.stores.payloads.INLINE_BYTES_MAX` is near where the two meet.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from app.domain.item import Block
from app.domain.job import Counts, Job, Options, Status
from app.stores.payloads import DIRECTORY
from app.stores.sqlite import SqliteStore
from bench.conditions import conditions

SIZES = tuple(kib << 10 for kib in (16, 32, 64, 128, 256))
JOBS, RUNS = 100, 5
SWEEP_BYTES = 1 << 20


def seconds_for_a_job(size: int, jobs: int, *, in_files: bool) -> float:
    """CPU seconds to store and to remove a job whose items take so many bytes."""
    lines = b"1" * (size - 1) + b"\n"
    with TemporaryDirectory(prefix="millpond-bench-") as directory:
        inline_bytes_max = 0 if in_files else size
        store = SqliteStore(Path(directory, "store.sqlite"), inline_bytes_max=inline_bytes_max)
        store.open()
        began = time.process_time()
        asyncio.run(_store_and_remove(store, Block(0, 1, lines), jobs))
        store.close()
        assert Path(directory, DIRECTORY).exists() is in_files
        return (time.process_time() - began) / jobs


async def _store_and_remove(store: SqliteStore, block: Block, jobs: int) -> None:
    for number in range(jobs):
        job = Job(f"job-{number}", "echo", Status.QUEUED, Counts(1), Options(), datetime.now(UTC))
        await store.create_job(job, [block])
    for number in range(jobs):
        await store.delete_job(f"job-{number}")
    while await store.sweep(SWEEP_BYTES):
        pass


def main() -> None:
    """Print milliseconds for each size, in the database and in files."""
    print(conditions("bench.inline", ()))
    print(f"{'KiB':>6}{'database':>12}{'file':>8}   CPU ms a job")
    for size in SIZES:
        runs = [
            [seconds_for_a_job(size, JOBS, in_files=in_files) for in_files in (False, True)]
            for _ in range(RUNS)
        ]
        database, file = (1e3 * min(both) for both in zip(*runs, strict=True))
        print(f"{size >> 10:>6}{database:>12.2f}{file:>8.2f}")


if __name__ == "__main__":
    main()
