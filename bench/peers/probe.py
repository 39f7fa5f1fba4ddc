"""The process that uses a library: `python -m bench.peers.probe NAME ADAPTER CASE SCALE FOLDER`, in its environment.

It leaves what it saw in a file.  It cleans up nothing: that is the warden's part.
"""

import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

from bench.figure import percentile
from bench.makespan import costs_of
from bench.peers.cases import FAULT_ITEMS, SIZES, Case, Scale, Seen, Size
from bench.peers.functions import BAD, call
from bench.peers.library import WORKERS, Failed, Library, Pending
from bench.timing import timed

SEEN_FILE = "seen.json"
PHOTOS_FILE = "PEER_PHOTOS"
"""The environment variable that names the file with the photographs as items."""
START_SECONDS_MAX = 60.0
PATIENCE_SECONDS = 20.0
"""How long outcomes are waited for where something goes wrong; a good item takes 0.1 s at most."""
DONE_BEFORE_CRASH = 5
MEAN_MS = 10.0
MS = 1_000.0


class Wrong(Exception):
    """What came back is not what should have."""


def open_library(name: str, adapter: str) -> Library:
    """Each is imported only where it is installed."""
    library: Library = getattr(importlib.import_module(f"bench.peers.libraries.{name}"), adapter)()
    return library


def main(name: str, adapter: str, case: Case, scale: Scale, folder: Path) -> None:
    library = open_library(name, adapter)
    library.start()
    warm_up(library)
    size = SIZES[scale]
    match case:
        case "short":
            seen = Seen(_short(library, size))
        case "long":
            seen = Seen(_long(library, size))
        case _:
            seen = _fault(library, case)
    seen.save(folder / SEEN_FILE)


def warm_up(library: Library) -> None:
    """Until all workers run items at the same time, and what the library has for many has been used once.

    So that nobody's start is timed: not its workers', and not of what it starts when it is first asked.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while most_at_once(_each(library, "meet", range(WORKERS * 2))) < WORKERS:
        if time.monotonic() > deadline:
            raise Wrong(f"there are not {WORKERS} workers after {START_SECONDS_MAX:.0f} s")
    _right(library.batch, WORKERS * 10)


def most_at_once(spans: Sequence[Sequence[float]]) -> int:
    """How many of these (from, to) have a moment in common, at most."""
    return max(sum(began <= at < ended for began, ended in spans) for at, _ in spans)


def _short(library: Library, size: Size) -> Mapping[str, list[float]]:
    """Squares: many in a batch, many one by one, and one at a time."""
    figures: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(size.runs):
        figures["batch"].append(size.batch / _right(library.batch, size.batch))
        figures["each"].append(size.each / _right(lambda name, items: _each(library, name, items), size.each))
        waits = [timed(_each, library, "square", [n])[0] * MS for n in range(size.single)]
        figures["p50"].append(percentile(waits, 50))
        figures["p99"].append(percentile(waits, 99))
    return dict(figures)


def _right(run: Callable[[str, Sequence[int]], Sequence[Any]], count: int) -> float:
    took, outputs = timed(run, "square", range(count))
    if list(outputs) != [x * x for x in range(count)]:
        raise Wrong(f"{len(outputs)} squares of {count}, or others")
    return took


def _each(library: Library, name: str, items: Sequence[Any]) -> list[Any]:
    return [library.outcome(handle, START_SECONDS_MAX) for handle in library.submit(name, items)]


def _long(library: Library, size: Size) -> Mapping[str, list[float]]:
    """Photographs, and CPU work of equal and of very different cost, by what `Pool.map` takes right before.

    It is given one item at a time, which is the best that can be done on this machine as busy as it is.
    """
    figures: defaultdict[str, list[float]] = defaultdict(list)
    kinds = {
        "uniform": ("burn", costs_of("uniform", size.costly, MEAN_MS)),
        "lognormal": ("burn", costs_of("lognormal", size.costly, MEAN_MS)),
        "photographs": ("resize", json.loads(Path(os.environ[PHOTOS_FILE]).read_text())),
    }
    with get_context("forkserver").Pool(WORKERS) as pool:
        pool.map(partial(call, "square"), range(WORKERS * 10), chunksize=1)
        for _ in range(size.runs):
            for kind, (name, items) in kinds.items():
                best, expected = timed(pool.map, partial(call, name), items, chunksize=1)
                took, outputs = timed(library.batch, name, items)
                if not _as_good(name, items, outputs, expected):
                    raise Wrong(f"{kind}: {outputs}")
                figures[kind].append(took / best)
    return dict(figures)


def _as_good(name: str, items: Sequence[Any], outputs: Sequence[Any], expected: Sequence[Any]) -> bool:
    """The same pictures; or for each item as much CPU time as it was told to take, which no two runs have alike."""
    if name != "burn":
        return list(outputs) == list(expected)
    return len(outputs) == len(items) and all(map(float.__ge__, outputs, items))


def _fault(library: Library, case: Case) -> Seen:
    """Twenty items, of which one goes wrong, or under which the workers are killed and started again."""
    items = range(FAULT_ITEMS)
    try:
        handles = library.submit(case, items)
        if case == "restart":
            for handle in handles[:DONE_BEFORE_CRASH]:
                library.outcome(handle, PATIENCE_SECONDS)
            library.crash()
            library.start()
    except Failed as failure:
        return Seen({}, good=FAULT_ITEMS, told=str(failure))
    deadline = time.monotonic() + PATIENCE_SECONDS
    outcomes = [_told(library, handle, deadline) for handle in handles]
    good = [x for x in items if case == "restart" or x != BAD]
    right = sum(outcomes[x] == x * x for x in good)
    said = next((outcome for outcome in outcomes if isinstance(outcome, str)), None)
    return Seen({}, right, len(good), said)


def _told(library: Library, handle: Any, deadline: float) -> Any:
    """The output; the error as text; None if nothing came in time."""
    try:
        return library.outcome(handle, max(0.05, deadline - time.monotonic()))
    except Failed as failure:
        return str(failure)
    except Pending:
        return None
    except Exception as error:  # an edge: a library whose workers are gone raises whatever it likes
        return type(error).__name__


if __name__ == "__main__":
    _, name_, adapter_, case_, scale_, folder_ = sys.argv
    main(name_, adapter_, cast("Case", case_), cast("Scale", scale_), Path(folder_))
