"""`python -m bench.idle`: what a service that waits is made of, import by import and page by page.

The first tables are of what the serving process and the zygote import, in their order: CPU milliseconds, and MiB of
anonymous memory that it leaves behind; the least of several interpreters.  The last is of a service with two workers
after a first result (proc(5), `smaps_rollup`): W7's "memory in all, idle", taken apart.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.conditions import conditions
from bench.footprint import MIB, compile_all, first_result
from bench.memory import alone_bytes, family, rollup
from bench.scale import WORKERS
from bench.server import ROOT, Server, serving

RUNS = 5
SERVICE: Mapping[str, str] = {
    "interpreter": "",
    "what begins the zygote": "import app.__main__, app.begin",
    "pydantic, and the settings": "import app.settings",
    "what the zygote is told": "import app.ownership, app.pool",
    "asyncio, and the pool": "import workers.pool",
    "FastAPI and Starlette": "from app.__main__ import _spare; _spare(); import fastapi",
    "uvicorn, uvloop, httptools": "import httptools, uvicorn.config, uvloop",
    "what is ours": "import app.main",
}
"""What the serving process imports, in its order."""
ZYGOTE: Mapping[str, str] = {
    "interpreter": "",
    "pydantic, msgspec": "from workers.plugins import spare_plugins; spare_plugins(); import msgspec, pydantic",
    "numpy": "import numpy",
    "Pillow": "import PIL.Image",
    "what is ours": "import workers.zygote; from workers.task import discover; [*discover(['workers.tasks'])]",
}
"""What the zygote does."""
_PROGRAM = """
import sys, time
for step in sys.argv[1:]:
    exec(step)
    rollup = open("/proc/self/smaps_rollup").read()
    print(time.process_time(), int(rollup.partition("Anonymous:")[2].split()[0]) * 1024)
"""

Cost = tuple[float, float]
"""Seconds of CPU, bytes."""


def costs(steps: Sequence[str], runs: int = RUNS) -> list[Cost]:
    """What each step costs behind those before it."""
    measured = [list(_steps(steps)) for _ in range(runs)]
    return [
        (min(run[at][0] for run in measured), min(run[at][1] for run in measured))
        for at, _ in enumerate(steps)
    ]


def _steps(steps: Sequence[str]) -> Iterator[Cost]:
    program = [sys.executable, "-c", _PROGRAM, *steps]
    printed = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before = 0.0, 0.0
    for line in printed.splitlines():
        seconds, size = map(float, line.split())
        yield seconds - before[0], size - before[1]
        before = seconds, size


def parts(server: Server) -> dict[str, float]:
    """Bytes, by what they are; together they are the proportional set size of the service with its workers."""
    service, *forked = map(rollup, family(server))
    own = sum(process["Private_Dirty"] for process in forked)
    return {
        "the serving process": service["Pss_Anon"],
        "zygote and workers, shared": sum(process["Pss_Anon"] for process in forked) - own,
        f"what each of these {len(forked)} has changed": own,
        "files' pages, mapped by all": sum(
            process["Pss"] - process["Pss_Anon"] for process in (service, *forked)
        ),
    }


def main() -> None:
    """Print all three."""
    print(conditions("bench.idle", ()))
    compile_all()
    for process, steps in ("serving process", SERVICE), ("zygote", ZYGOTE):
        print(f"{process:<40}{'CPU ms':>8}{'MiB':>8}")
        for what, (seconds, size) in zip(steps, costs([*steps.values()]), strict=True):
            print(f"  {what:<38}{seconds * 1e3:>8.0f}{size / MIB:>8.1f}")
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS)) as server,
    ):
        first_result(server)
        told = parts(server)
        alone = alone_bytes(server)
    print(f"idle, {WORKERS} workers; what processes share is told in parts, each for its own")
    totals = {"together": sum(told.values()), "if nothing else ran, at least": alone}
    for what, size in (told | totals).items():
        print(f"  {what:<46}{size / MIB:>8.1f}")


if __name__ == "__main__":
    main()
