"""W7: how long from the start of the process to the first result, and what memory it takes to be there at all.

Memory is the proportional set size of the service, its zygote and its workers; and what that were at least if nothing
else ran on the machine, for other Pythons make it look smaller (`bench.memory`).

As in the image, the service has been compiled to bytecode before it starts.
"""

import compileall
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from bench.figure import Figure, WrongResult, at_most
from bench.memory import alone_bytes, pss_bytes
from bench.scale import WORKERS, Scale
from bench.server import ROOT, Server, serving

MORE_WORKERS = 4
"""So many are added to tell what one costs."""
GROWN_SECONDS_MAX = 10.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Size:
    starts: int
    pools: int


SIZES: Mapping[Scale, Size] = {"full": Size(7, 5), "quick": Size(3, 1), "tiny": Size(1, 1)}


def measure(scale: Scale) -> list[Figure]:
    """Seconds and mebibytes.  WrongResult if the first result is not right."""
    size = SIZES[scale]
    compile_all()
    starts = [_seconds_to_first_result() for _ in range(size.starts)]
    footprints = [_footprint() for _ in range(size.pools)]
    return [
        Figure("start to the first result", "", starts, "s", target=at_most(1.0)),
        Figure(
            "memory in all, idle",
            f"{WORKERS} workers",
            [footprint.idle / MIB for footprint in footprints],
            "MiB",
            target=at_most(90),
        ),
        Figure(
            "memory in all, if nothing else ran",
            f"{WORKERS} workers",
            [footprint.alone / MIB for footprint in footprints],
            "MiB",
        ),
        Figure(
            "memory for each further worker",
            f"of {MORE_WORKERS}",
            [footprint.each / MIB for footprint in footprints],
            "MiB",
            target=at_most(15),
        ),
    ]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes, in all, were nothing else there, and for one more worker."""

    idle: int
    alone: int
    each: float


def compile_all() -> None:
    """Have the service's bytecode there, whether or not this environment writes any by itself."""
    for package in ("app", "workers"):
        compileall.compile_dir(ROOT / package, quiet=1)


def _seconds_to_first_result() -> float:
    with TemporaryDirectory(prefix="millpond-bench-") as directory:
        began = perf_counter()
        with serving(Path(directory), processes=str(WORKERS)) as server:
            first_result(server)
            return perf_counter() - began


def _footprint() -> Footprint:
    """Every worker has run something: what a first item loads is there."""
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS)) as server,
    ):
        first_result(server)
        idle, alone = pss_bytes(server), alone_bytes(server)
        _resize(server, WORKERS + MORE_WORKERS)
        first_result(server)
        return Footprint(idle, alone, (pss_bytes(server) - idle) / MORE_WORKERS)


def first_result(server: Server) -> None:
    job = {"task": "sqrt", "items": [9, 16, 25] * 100}
    with server.client() as client:
        answer = client.post("/v1/jobs", json=job, headers={"Prefer": "wait=30"}).raise_for_status().json()
    if {result.get("output") for result in answer["results"] or ()} != {3.0, 4.0, 5.0}:
        raise WrongResult(f"the roots of 9, 16 and 25: {answer}")


def _resize(server: Server, processes: int) -> None:
    """Have so many workers, and wait until they are there."""
    deadline = perf_counter() + GROWN_SECONDS_MAX
    with server.client() as client:
        client.patch("/v1/pool/cpu", json={"processes": processes}).raise_for_status()
        while True:
            workers = client.get("/v1/pool").raise_for_status().json()["pools"]["cpu"]["workers"]
            if sum(worker["state"] == "idle" for worker in workers) == processes:
                return
            assert perf_counter() < deadline, f"there are not {processes} workers but {workers}"
            sleep(0.01)
