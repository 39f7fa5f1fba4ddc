"""`python -m bench.profile_single`: where the time of jobs of one item goes, stage by stage.

The client of W2 has the service make squares over its connections, as in `bench.floor`, which tells what servers that
do less would need.  Of the event loop, which is what such jobs wait for, the CPU time is told by stage (`sampled`).
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.conditions import conditions
from bench.cpu import MS_PER_NS, used
from bench.sampled import ITSELF, SAYS, STAGES
from bench.scale import WORKERS, Scale
from bench.server import Server, started
from bench.single import CONNECTIONS, at_once

JOBS: Mapping[Scale, int] = {"full": 10_000, "quick": 2_000, "tiny": 100}
SECONDS_MAX = 30.0


def measure(scale: Scale) -> dict[tuple[str, str], float]:
    """Microseconds of CPU that a job takes, by who uses it and for what.  WrongResult if a square is not one."""
    jobs = JOBS[scale]
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        started(_server(directory)) as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(at_once(server.url, jobs // 5))
        os.kill(server.pid, signal.SIGUSR1)
        before = used(server.pid)
        runner.run(at_once(server.url, jobs))
        parts = used(server.pid) - before
        os.kill(server.pid, signal.SIGUSR1)
        stages = _told(server)
    sampled = sum(stages.values())
    loop = parts["loop"] * MS_PER_NS  # with what it took to look, which is to be no stage's
    told = {("loop", stage): stages.get(stage, 0.0) for stage in (*STAGES, ITSELF)}
    told["loop", "to look at it"] = max(0.0, loop - sampled)
    told["other threads", "the store"] = parts["other threads"] * MS_PER_NS
    told["workers", "decode, run, encode"] = parts["workers"] * MS_PER_NS
    return {key: milliseconds / jobs * 1e3 for key, milliseconds in told.items()}


def _server(directory: str) -> Server:
    return Server(Path(directory), {"MILLPOND_PROCESSES": str(WORKERS)}, "bench.sampled")


def _told(server: Server) -> dict[str, float]:
    """What the service says of its loop, once it does."""
    deadline = time.monotonic() + SECONDS_MAX
    while SAYS not in (log := server.read_log()):
        assert time.monotonic() < deadline, log
        time.sleep(0.01)
    told: dict[str, float] = json.loads(log.partition(SAYS)[2].partition("\n")[0])
    return told


def main(arguments: Sequence[str]) -> None:
    """Print the table; with `--quick` of fewer jobs."""
    scale: Scale = "quick" if "--quick" in arguments else "full"
    print(conditions("bench.profile_single", arguments))
    print(f"{f'{JOBS[scale]:,} jobs of one item, {CONNECTIONS} connections':<48}{'CPU us a job':>14}")
    for (where, what), microseconds in measure(scale).items():
        print(f"{where:<16}{what:<32}{microseconds:>14.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
