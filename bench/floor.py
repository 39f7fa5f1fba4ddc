"""What jobs of one item cost on this machine, and what of that nobody could save: `python -m bench.floor`.

The client of W2 asks, in turns, servers that do less than the service (`bare`), and the service: so many answers a
second over its connections, and the CPU time that an answer takes of whoever has a part in it.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import uvloop

from bench.bare import STEPS
from bench.conditions import conditions
from bench.cpu import MS_PER_NS, used
from bench.scale import WORKERS, Scale
from bench.server import Server, started
from bench.single import CONNECTIONS, MS, at_once
from bench.timing import timed

SERVICE = "the service"
WHAT: Mapping[str, str] = {
    "answer": "uvicorn alone",
    "call": "and Pool.apply_async",
    "keep": "and two commits",
    SERVICE: SERVICE,
}
_MEANING = f"{CONNECTIONS} connections, {WORKERS} workers; CPU time in ms for each answer"
PARTS = ("loop", "other threads", "workers")


@dataclass(frozen=True, slots=True)
class Size:
    jobs: int
    turns: int


SIZES: Mapping[Scale, Size] = {"full": Size(500, 20), "quick": Size(500, 5), "tiny": Size(20, 1)}


@dataclass(frozen=True, slots=True)
class Turn:
    """Answers a second, and milliseconds of CPU for each answer: by part, and the client's."""

    rate: float
    cpu: Mapping[str, float]
    client: float


def measure(scale: Scale) -> dict[str, list[Turn]]:
    """The turns of each server.  WrongResult if a square is not one."""
    size = SIZES[scale]
    turns: dict[str, list[Turn]] = {name: [] for name in (*STEPS, SERVICE)}
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        servers = {name: stack.enter_context(started(_server(name, stack))) for name in turns}
        for server in servers.values():
            runner.run(at_once(server.url, size.jobs))
        for _ in range(size.turns):
            for name, server in servers.items():
                turns[name].append(_turn(runner, server, size.jobs))
    return turns


def _server(name: str, stack: ExitStack) -> Server:
    data = Path(stack.enter_context(TemporaryDirectory(prefix="millpond-bench-")))
    if name == SERVICE:
        return Server(data, {"MILLPOND_PROCESSES": str(WORKERS)})
    return Server(data, {"STEP": name}, "bench.bare")


def _turn(runner: asyncio.Runner, server: Server, jobs: int) -> Turn:
    before, mine = used(server.pid), process_time()
    seconds, _ = timed(runner.run, at_once(server.url, jobs))
    client, cpu = process_time() - mine, used(server.pid) - before
    return Turn(jobs / seconds, {part: cpu[part] * MS_PER_NS / jobs for part in PARTS}, client * MS / jobs)


def table(turns: Mapping[str, Sequence[Turn]]) -> str:
    """Medians; and the best of the turns, since what others do on a machine makes things dearer, never cheaper."""
    head = ("", "answers/s", "most", *PARTS, "client", "together", "least")
    rows = [head, *((WHAT[name], *_cells(its)) for name, its in turns.items())]
    return "\n".join(f"{name:<22}" + "".join(f"{cell:>15}" for cell in cells) for name, *cells in rows)


def _cells(turns: Sequence[Turn]) -> list[str]:
    rates = [turn.rate for turn in turns]
    together = [sum(turn.cpu.values()) + turn.client for turn in turns]
    milliseconds = [median([turn.cpu[part] for turn in turns]) for part in PARTS]
    milliseconds += [median([turn.client for turn in turns]), median(together), min(together)]
    return [f"{median(rates):,.0f}", f"{max(rates):,.0f}", *(f"{number:.3f}" for number in milliseconds)]


def main(arguments: Sequence[str]) -> None:
    """Print the table; with `--quick` of fewer turns."""
    print(
        conditions("bench.floor", arguments),
        _MEANING,
        sep="\n",
        end="\n\n",
    )
    print(table(measure("quick" if "--quick" in arguments else "full")))


if __name__ == "__main__":
    main(sys.argv[1:])
