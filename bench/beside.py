"""What the service does besides its items: the CPU time of all its processes while these only sleep.

Items that burn CPU would hide it, and on a busy machine they would take longer, so that chunks became smaller; these
do not.  Beside it, in turns, what `Pool` takes to have as many results kept and passed on (`bare_map`).  Run it in
turns with another revision: CPU time, too, depends on what else the machine does.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import msgspec

from bench.conditions import conditions
from bench.cpu import MS_PER_NS, used
from bench.figure import WrongResult
from bench.following import as_document, follow
from bench.scale import WORKERS, Scale
from bench.server import ROOT, serving

ITEMS, ITEM_SECONDS, RUNS = 400, 0.010, 6
SIZES: dict[Scale, tuple[int, int]] = {"full": (ITEMS, RUNS), "quick": (ITEMS, 1), "tiny": (20, 1)}
SERVICE, POOL = "the service", "Pool, kept and passed on"


def main() -> None:
    """Print, for a job, milliseconds of CPU and how often somebody was woken: the least and the median of the runs."""
    told = measure("full")
    print(conditions("bench.beside", ()))
    for who, runs in told.items():
        print(f"{who:<28}{'least':>9}{'median':>9}")
        for what in sorted(runs[0]):
            figures = [run[what] * (1 if what.endswith("woken") else MS_PER_NS) for run in runs]
            print(f"  {what:<26}{min(figures):>9.1f}{median(figures):>9.1f}")


def measure(scale: Scale) -> dict[str, list[Counter[str]]]:
    """What each run of either used (`cpu.used`).  WrongResult unless all results came."""
    items, runs = SIZES[scale]
    array = msgspec.json.encode([ITEM_SECONDS] * items)
    submission = as_document("sleep_for", array)
    told: dict[str, list[Counter[str]]] = {SERVICE: [], POOL: []}
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS), tasks="workers.tasks.faults") as server,
        _pool(Path(directory) / "bare.sqlite") as (pool_pid, ask),
    ):
        asked: dict[str, tuple[int, Callable[[], bytes]]] = {
            SERVICE: (server.pid, partial(follow, server.url, submission)),
            POOL: (pool_pid, partial(ask, array)),
        }
        for number in range(runs + 1):
            for who, (pid, run) in asked.items():
                before = used(pid)
                if (count := run().count(b"\n")) != items:
                    raise WrongResult(f"{who}: {count} results of {items}")
                if number:  # the first warms it up
                    told[who].append(used(pid) - before)
    return told


@contextmanager
def _pool(database: Path) -> Iterator[tuple[int, Callable[[bytes], bytes]]]:
    """The process, and what it answers an array of seconds with."""
    command = [sys.executable, "-m", "bench.bare_map", str(database)]
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(array: bytes) -> bytes:
            stdin.write(array + b"\n")
            stdin.flush()
            return b"".join(iter(stdout.readline, b"\n"))

        try:
            yield process.pid, ask
        finally:
            stdin.close()


if __name__ == "__main__":
    main()
