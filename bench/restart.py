"""`python -m bench.restart`: how long a start takes with many unfinished jobs and results on disk."""

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from app.domain.item import Block, Segment
from app.domain.job import Counts, Job, Options, Status
from app.stores.sqlite import SqliteStore
from bench.server import Server

SEGMENT_LINES = 100


async def _fill(store: SqliteStore, jobs: int, results: int) -> None:
    """Unfinished jobs, each with its share of the results; of every other item, so that no two ranges touch."""
    now = datetime.now(UTC)
    each = results // jobs
    lines = b"".join(b'{"index":%d,"output":%d}\n' % (n, n * n) for n in range(SEGMENT_LINES))
    items = b"1\n" * SEGMENT_LINES
    for number in range(jobs):
        job_id = f"job-{number}"
        counts = Counts(2 * each, succeeded=each)
        job = Job(job_id, "square", Status.RUNNING, counts, Options(), now, started_at=now, fingerprint="")
        firsts = range(0, 2 * each, SEGMENT_LINES)
        await store.create_job(job, [Block(first, SEGMENT_LINES, items) for first in firsts])
        segments = [
            Segment(job_id, first, SEGMENT_LINES, 0, place * SEGMENT_LINES, 0, lines)
            for place, first in enumerate(firsts[::2])
        ]
        await store.append_results(segments, [], {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--results", type=int, default=10_000_000)
    parser.add_argument("--starts", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millpond-") as directory:
        store = SqliteStore(Path(directory, "millpond.sqlite"))
        store.open()
        asyncio.run(_fill(store, arguments.jobs, arguments.results))
        store.close()
        size = Path(directory, "millpond.sqlite").stat().st_size
        print(f"{arguments.jobs:,} unfinished jobs, {arguments.results:,} results, {size >> 20} MiB")
        for _ in range(arguments.starts):
            server = Server(Path(directory), {"MILLPOND_DRAIN_SECONDS": "0"})
            began = time.monotonic()
            server.start()
            seconds = time.monotonic() - began
            print(f"ready {seconds:.2f} s after the start of the process, of CPU {server.cpu_seconds:.2f} s")
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
