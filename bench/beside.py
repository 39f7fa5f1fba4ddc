"""What the service does besides its items, and what it costs them: `python -m bench.beside`.

First the CPU time of all its processes while 400 items only sleep: items that burn CPU would hide it, and on a busy
machine they would take longer, so that chunks became smaller; these do not.  Then how long 400 items take that burn
CPU, which have to share the cores with that.  Beside it, in turns, what `Pool` takes to have as many results kept and
passed on (`bare_map`), and `Pool.map`.  Run it in turns with another revision (`against`): CPU time, too, depends on
what else the machine does.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import msgspec

from bench.conditions import conditions
from bench.cpu import MS_PER_NS, used
from bench.figure import WrongResult
from bench.following import as_document, follow
from bench.makespan import ideal_seconds
from bench.scale import WORKERS, Scale
from bench.server import ROOT, serving
from bench.timing import timed
from workers.tasks.faults import burn

ITEMS, ITEM_MS, RUNS = 400, 10.0, 6
SIZES: dict[Scale, tuple[int, int]] = {"full": (ITEMS, RUNS), "quick": (ITEMS, 1), "tiny": (20, 1)}
SERVICE, POOL, MAP = "the service", "Pool, kept and passed on", "Pool.map"


def main() -> None:
    """Print, for a job, milliseconds of CPU and how often somebody was woken, then times: the least and the median."""
    print(conditions("bench.beside", ()))
    for who, runs in measure("full").items():
        print(f"{who:<28}{'least':>9}{'median':>9}")
        for what in sorted(runs[0]):
            figures = [run[what] * (1 if what.endswith("woken") else MS_PER_NS) for run in runs]
            print(f"  {what:<26}{min(figures):>9.1f}{median(figures):>9.1f}")
    print("\nitems that burn CPU, by the ideal")
    for who, ratios in makespans("full").items():
        print(f"  {who:<26}{min(ratios):>9.3f}{median(ratios):>9.3f}")


def measure(scale: Scale) -> dict[str, list[Counter[str]]]:
    """What each run of either used (`cpu.used`) while items slept.  WrongResult unless all results came."""
    items, runs = SIZES[scale]
    told: dict[str, list[Counter[str]]] = {SERVICE: [], POOL: []}
    with _both("sleep_for", [ITEM_MS / 1_000] * items) as asked:
        for number in range(runs + 1):
            for who, (pid, run) in asked.items():
                before = used(pid)
                run()
                if number:  # the first warms it up
                    told[who].append(used(pid) - before)
    return told


def makespans(scale: Scale) -> dict[str, list[float]]:
    """How long items took that burn CPU, by what two cores need that do nothing else.  WrongResult as above."""
    items, runs = SIZES[scale]
    costs_ms = [ITEM_MS] * items
    told: dict[str, list[float]] = {SERVICE: [], POOL: [], MAP: []}
    with _both("burn", costs_ms) as asked, get_context("forkserver").Pool(WORKERS) as pool:
        ways = {who: run for who, (_, run) in asked.items()} | {MAP: partial(pool.map, burn, costs_ms)}
        for number in range(runs + 1):
            for who, run in ways.items():
                seconds, _ = timed(run)
                if number:
                    told[who].append(seconds / ideal_seconds(costs_ms, WORKERS))
    return told


@contextmanager
def _both(task: str, items: Sequence[float]) -> Iterator[dict[str, tuple[int, Callable[[], object]]]]:
    """The process of either, and what has it run the task on these items.  WrongResult unless all results came."""
    array = msgspec.json.encode(items)
    submission = as_document(task, array)

    def run(who: str, ask: Callable[[], bytes]) -> None:
        if (count := ask().count(b"\n")) != len(items):
            raise WrongResult(f"{who}: {count} results of {len(items)}")

    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS), tasks="workers.tasks.faults") as server,
        _pool(Path(directory) / "bare.sqlite", task) as (pool_pid, ask),
    ):
        yield {
            SERVICE: (server.pid, partial(run, SERVICE, partial(follow, server.url, submission))),
            POOL: (pool_pid, partial(run, POOL, partial(ask, array))),
        }


@contextmanager
def _pool(database: Path, task: str) -> Iterator[tuple[int, Callable[[bytes], bytes]]]:
    """The process, and what it answers an array of items with."""
    command = [sys.executable, "-m", "bench.bare_map", str(database), task]
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
