"""Another revision against this one, in turns in the same run: `python -m bench.against REVISION [WORKLOAD …]`.

Figures of two machines, or of two days, cannot be compared; these can.  Both services run in this Python environment,
one of them from the files of that revision, and have the same client.

Exit status: 1 if a result was wrong, 2 if there is no such revision.
"""

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp

import msgspec
import uvloop

from bench import costs, squares
from bench.conditions import conditions, revision
from bench.cpu import MS_PER_NS, used
from bench.figure import WrongResult
from bench.following import as_document, as_lines, follow
from bench.makespan import costs_of
from bench.report import rounded
from bench.scale import WORKERS, Scale
from bench.server import ROOT, Server, started
from bench.single import CONNECTIONS, appended, at_once
from bench.timing import timed

THIS = "this one"
PARTS = ("loop", "other threads", "workers", "all")


@dataclass(frozen=True, slots=True)
class Size:
    turns: int
    squares: int
    jobs: int
    items: int
    item_ms: float


SIZES: Mapping[Scale, Size] = {
    "full": Size(7, 1_000_000, 1_000, 400, 10.0),
    "quick": Size(1, 1_000_000, 1_000, 400, 10.0),
    "tiny": Size(1, 2_000, 20, 12, 0.5),
}


@dataclass(frozen=True, slots=True)
class Load:
    """So many jobs, with so many items, that are asked of the service at an address in a turn.

    `ask` returns how many seconds the answers took; that they are right is looked at outside of these.
    """

    what: str
    jobs: int
    items: int
    ask: Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Turn:
    """Items a second; milliseconds of CPU for each job, by part."""

    rate: float
    cpu: Mapping[str, float]


class NoRevision(Exception):
    """There is nothing to compare with; the text says why."""


def _squares(size: Size) -> Load:
    lines = squares.json_lines(size.squares)

    def ask(url: str) -> float:
        seconds, text = timed(follow, url, as_lines("square", lines))
        squares.check([text], size.squares)
        return seconds

    return Load(f"a job of {size.squares:,} squares, as JSON lines", 1, size.squares, ask)


def _single(size: Size) -> Load:
    def ask(url: str) -> float:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return timed(runner.run, at_once(url, size.jobs))[0]

    return Load(f"{size.jobs:,} jobs of one item, over {CONNECTIONS} connections", size.jobs, size.jobs, ask)


def _appended(size: Size) -> Load:
    def ask(url: str) -> float:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return timed(runner.run, appended(url, size.jobs))[0]

    return Load(f"{size.jobs:,} items appended to an open job, one by one", size.jobs, size.jobs, ask)


def _costs(size: Size) -> Load:
    costs_ms = costs_of("uniform", size.items, size.item_ms)
    submission = as_document("burn", msgspec.json.encode(costs_ms))

    def ask(url: str) -> float:
        seconds, text = timed(follow, url, submission)
        costs.check(text, costs_ms)
        return seconds

    return Load(f"a job of {size.items} items of {size.item_ms:g} ms", 1, size.items, ask)


LOADS: Mapping[str, Callable[[Size], Load]] = {
    "W1": _squares,
    "W2": _single,
    "W4": _costs,
    "appended": _appended,
}
"""A part each of the workload of that name; and what is handed over item by item, into one job."""


def measure(roots: Mapping[str, Path], load: Load, turns: int) -> dict[str, list[Turn]]:
    """The turns of the service in each of these directories.  WrongResult, which says whose, if a result is wrong."""
    told: dict[str, list[Turn]] = {who: [] for who in roots}
    with ExitStack() as stack:
        servers = {who: stack.enter_context(started(_server(root, stack))) for who, root in roots.items()}
        for number in range(turns + 1):
            for who, server in servers.items():
                try:
                    turn = _turn(server, load)
                except WrongResult as wrong:
                    raise WrongResult(f"{who}: {wrong}") from wrong
                if number:  # the first warms it up
                    told[who].append(turn)
    return told


def _server(root: Path, stack: ExitStack) -> Server:
    data = Path(stack.enter_context(TemporaryDirectory(prefix="millpond-bench-")))
    settings = {"MILLPOND_PROCESSES": str(WORKERS), "MILLPOND_TASKS": "workers.tasks,workers.tasks.faults"}
    return Server(data, settings, root=root)


def _turn(server: Server, load: Load) -> Turn:
    before = used(server.pid)
    seconds = load.ask(server.url)
    cpu = used(server.pid) - before
    return Turn(load.items / seconds, {part: cpu[part] * MS_PER_NS / load.jobs for part in PARTS})


def table(turns: Mapping[str, Sequence[Turn]]) -> str:
    """Medians, and the best rate, of two; below, the second by the first."""
    rows = {who: _numbers(its) for who, its in turns.items()}
    old, new = rows.values()
    ratios = [f"{after / before:.2f}" for before, after in zip(old, new, strict=True)]
    cells = {who: list(map(rounded, numbers)) for who, numbers in rows.items()}
    lines = {"": ["items/s", "best", *PARTS], **cells, "ratio": ratios}
    return "\n".join(f"{name:<16}" + "".join(f"{cell:>15}" for cell in row) for name, row in lines.items())


def _numbers(turns: Sequence[Turn]) -> list[float]:
    rates = [turn.rate for turn in turns]
    return [median(rates), max(rates), *(median(turn.cpu[part] for turn in turns) for part in PARTS)]


@contextmanager
def checked_out(name: str, clone: Path = ROOT) -> Iterator[Path]:
    """The files of a revision, in a directory that is gone afterwards, and the clone as it was.

    NoRevision if the clone has none of that name, or is not a clone.
    """
    if _git(clone, "rev-parse", "--show-toplevel") != str(clone.resolve()):
        raise NoRevision(f"{clone} is no clone of a git repository: it has no other revisions")
    if (commit := _git(clone, "rev-parse", "--verify", f"{name}^{{commit}}")) is None:
        raise NoRevision(f"{name}: there is no such revision in {clone}")
    tree = Path(mkdtemp(prefix="millpond-bench-"))
    try:
        _git(clone, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        yield tree
    finally:
        # The directory first: git forgets one that is not there, however far it had come with it.
        shutil.rmtree(tree)
        _git(clone, "worktree", "remove", "--force", "--force", str(tree))


def _git(clone: Path, *arguments: str) -> str | None:
    """What git says; None if it fails, or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=clone, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """Print a table for each workload.  The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.against", description="Another revision and this one, in turns."
    )
    parser.add_argument("revision", metavar="REVISION", help="a commit, tag or branch of this clone")
    parser.add_argument(
        "names", nargs="*", metavar="WORKLOAD", help=f"some of {', '.join(LOADS)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="one turn; for a look, not for the record")
    options = parser.parse_intermixed_args(arguments)
    if unknown := [name for name in options.names if name not in LOADS]:
        parser.error(f"{unknown[0]}: there is no such workload here, but {', '.join(LOADS)}")
    size = SIZES["quick" if options.quick else "full"]
    try:
        with checked_out(options.revision) as tree:
            print(conditions("bench.against", arguments))
            print(
                f"medians of {size.turns}; CPU time in ms for each job, or item that is appended, {WORKERS} workers",
                flush=True,
            )
            for name in options.names or LOADS:
                load = LOADS[name](size)
                turns = measure({revision(tree): tree, THIS: ROOT}, load, size.turns)
                print(f"\n{name}: {load.what}", table(turns), sep="\n", flush=True)
    except NoRevision as nothing:
        parser.error(str(nothing))
    except WrongResult as wrong:
        print(f"WRONG: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    # So that whatever was started is ended, whoever ends this.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
