"""W6: a thousand viewers of one job, by server-sent events with results, against the same job with nobody watching.

The job's items sleep, so that on two CPUs its workers leave room for the thousand clients; what is measured is whether
the service keeps its workers busy and its memory small while it serves them.  Its time is that of the job itself, from
the first item to the last, as the service tells it.  The client is one process; its share of a CPU is told, since near
100 % it is what was measured.

How each line is checked: a viewer keeps a checksum of the lines it was sent, in their order, and their number; at the
end both must be those of the job's result log, which is checked line by line.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
import psutil
import uvloop

from bench.connection import Connection
from bench.events import Viewer
from bench.figure import Figure, WrongResult, at_most, ratio_at_most
from bench.scale import WORKERS, Scale
from bench.server import Server, serving
from bench.squares import check, json_lines

SECONDS_MAX = 600.0
"""How long a job may take with all its viewers."""
LOOK_SECONDS = 0.05
KIB = 1024


@dataclass(frozen=True, slots=True)
class Size:
    viewers: int
    items: int
    runs: int
    sleep_seconds: float = 0.0003


SIZES: Mapping[Scale, Size] = {
    "full": Size(1_000, 100_000, 5),
    "quick": Size(200, 20_000, 1),
    "tiny": Size(20, 1_000, 1),
}


class Job(msgspec.Struct):
    """What is looked at of a job."""

    id: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def seconds(self) -> float:
        assert self.started_at is not None
        assert self.ended_at is not None
        return (self.ended_at - self.started_at).total_seconds()


_job = msgspec.json.Decoder(Job).decode


@dataclass(frozen=True, slots=True)
class Showing:
    """A job that ran, from its submission until its last viewer had everything."""

    job_seconds: float
    """Of the job itself."""
    seconds: float
    server_cpu_seconds: float
    """Of the serving process; its workers not counted."""
    client_cpu_seconds: float
    peak_bytes: int
    """The most resident memory that the serving process had."""


def measure(scale: Scale) -> list[Figure]:
    """Job times, with and without, and memory.  WrongResult unless every viewer got every line."""
    size = SIZES[scale]
    alone: list[Showing] = []
    watched: list[Showing] = []
    for _ in range(size.runs):
        with (
            TemporaryDirectory(prefix="millpond-bench-") as directory,
            serving(Path(directory), processes=str(WORKERS)) as server,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            alone.append(runner.run(_show(server, size, 0)))
            watched.append(runner.run(_show(server, size, size.viewers)))
    what = f"{size.viewers:,} viewers, {size.items:,} items that sleep {size.sleep_seconds * 1e3:g} ms"
    return [
        Figure(
            "the job, watched",
            what,
            [showing.job_seconds for showing in watched],
            "s",
            [showing.job_seconds for showing in alone],
            "nobody watching",
            ratio_at_most(1.15),
        ),
        Figure(
            "CPU of the serving process",
            what,
            [showing.server_cpu_seconds for showing in watched],
            "s",
            [showing.server_cpu_seconds for showing in alone],
            "nobody watching",
        ),
        Figure(
            "RSS for each viewer",
            what,
            [
                max(0, with_.peak_bytes - without.peak_bytes) / size.viewers / KIB
                for with_, without in zip(watched, alone, strict=True)
            ],
            "KiB",
            target=at_most(64),
        ),
        Figure(
            "lines sent, all viewers",
            what,
            [size.viewers * size.items / showing.seconds for showing in watched],
            "lines/s",
        ),
        Figure(
            "the client's share of a CPU",
            what,
            [100 * showing.client_cpu_seconds / showing.seconds for showing in watched],
            "%",
        ),
    ]


async def _show(server: Server, size: Size, viewers: int) -> Showing:
    """Run the job, with so many viewers from its start to its end."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS_MAX):
        async with _connected(server) as connection, _Watched(server.pid) as process:
            began, cpu_began, own_began = loop.time(), process.cpu_seconds, time.process_time()
            job = await _submit(connection, size)
            watching = [loop.create_task(_watch(server, job.id)) for _ in range(viewers)]
            while job.status != "completed":
                job = await _get(connection, job.id)
            views = [await view for view in watching]
            seconds = loop.time() - began
            cpu_seconds, own_seconds = process.cpu_seconds - cpu_began, time.process_time() - own_began
        # Another connection: the service closes one on which nothing was asked while the last viewers were served.
        async with _connected(server) as connection:
            _, log = await connection.request("GET", f"/v1/jobs/{job.id}/results.jsonl")
    check([log], size.items)
    expected = (size.items, crc32(log.replace(b"\n", b",")), True)
    for view in views:
        if (view.lines, view.checksum, view.told_end) != expected:
            raise WrongResult(f"a viewer got {view.lines:,} lines of {size.items:,}, or others")
    return Showing(job.seconds, seconds, cpu_seconds, own_seconds, process.peak_bytes)


async def _watch(server: Server, job_id: str) -> Viewer:
    """One viewer, once it has been sent everything."""
    address = urlsplit(server.url)
    path = f"/v1/jobs/{job_id}/events?include=results"
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    _, viewer = await loop.create_connection(
        lambda: Viewer(request, loop.create_future()), str(address.hostname), int(address.port or 0)
    )
    await viewer.ended
    return viewer


async def _submit(connection: Connection, size: Size) -> Job:
    path = f"/v1/jobs?task=slow_square&param.seconds={size.sleep_seconds}"
    status, answer = await connection.request(
        "POST", path, json_lines(size.items), "Content-Type: application/jsonl\r\n"
    )
    if status != 202:
        raise WrongResult(f"{status}: {answer[:500]!r}")
    return _job(answer)


async def _get(connection: Connection, job_id: str) -> Job:
    status, answer = await connection.request("GET", f"/v1/jobs/{job_id}", b"", "Prefer: wait=30\r\n")
    if status != 200:
        raise WrongResult(f"{status}: {answer[:500]!r}")
    return _job(answer)


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[Connection]:
    connection = await Connection.open(server.url)
    try:
        yield connection
    finally:
        await connection.close()


class _Watched:
    """A process, and the most resident memory that it had while this was entered, as far as was looked."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak_bytes = 0

    @property
    def cpu_seconds(self) -> float:
        """What it took so far, its children not counted."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    async def __aenter__(self) -> "_Watched":
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()

    async def _look(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
            await asyncio.sleep(LOOK_SECONDS)
