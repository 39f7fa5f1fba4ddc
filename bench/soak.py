"""`python -m bench.soak`: workers die every 20 ms under load, and nothing is lost, doubled or leaked.

Exit status: 1 if an item had no result or two or a wrong one, if more failed than were killed, or if the service
holds more files or much more memory at the end than after its warm-up.
"""

import argparse
import itertools
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.server import Server, serving

KILL_SECONDS = 0.020
ZYGOTE_SECONDS = 7.0
WARM_UP_SHARE = 0.25
RSS_GROWTH_MAX = 0.25
"""What may be added: the cache of items and the page cache of the log fill up slowly."""
RSS_GROWTH_BYTES_MAX = 48 << 20
JOB_SECONDS_MAX = 120.0
SETTLE_SECONDS_MAX = 10.0
SETTLE_LOOKS = 30
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)
KILLED = {number.name for number in SIGNALS}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: a task with its items, and what each must give; None where it must fail by itself."""

    task: str
    items: Sequence[Any]
    outputs: Sequence[Any]
    options: dict[str, Any] = field(default_factory=dict)


KINDS = (
    Kind("square", range(2000), [x * x for x in range(2000)]),
    Kind("slow_square", [{"x": x, "seconds": 0.01} for x in range(60)], [x * x for x in range(60)]),
    Kind("echo", ["x" * 20_000] * 100, ["x" * 20_000] * 100),
    Kind(
        "risky",
        [5 if x % 10 == 0 else x + 6 for x in range(100)],
        [x + 6 if x % 10 else None for x in range(100)],
    ),
    Kind("square", range(200), [x * x for x in range(200)], {"max_attempts": 9, "chunksize": 20}),
    Kind("sleep_for", [0.001] * 20 + [9], [0.001] * 20 + [None], {"item_timeout_seconds": 0.5}),
)


@dataclass
class Tally:
    """What was seen, by all threads; each adds under the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    jobs: int = 0
    items: int = 0
    killed_items: int = 0
    kills: int = 0
    zygotes: int = 0
    flaws: list[str] = field(default_factory=list)

    def flaw(self, text: str) -> None:
        with self.lock:
            self.flaws.append(text)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the service and its zygote hold."""

    service_fds: int
    zygote_fds: int
    rss_bytes: int

    def __str__(self) -> str:
        return f"{self.service_fds} fds (zygote {self.zygote_fds}), {self.rss_bytes / 2**20:.0f} MiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, or only kill; print what came of it.  The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)s)")
    parser.add_argument("--deaths", type=int, help="instead: so many deaths as fast as possible")
    parser.add_argument("--seed", type=int, default=0, help="of what dies when (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=4, help="workers (default: %(default)s)")
    options = parser.parse_args(arguments)
    settings = {"tasks": "workers.tasks,workers.tasks.faults", "processes": str(options.processes)}
    with tempfile.TemporaryDirectory() as data, serving(Path(data), **settings) as server:
        if options.deaths:
            return _deaths(server, options.deaths)
        return _soak(server, options.seconds, random.Random(options.seed))


def _soak(server: Server, seconds: float, chance: random.Random) -> int:
    tally, stop, calm = Tally(), threading.Event(), threading.Event()
    clients = [threading.Thread(target=_load, args=(server, tally, stop, n)) for n in range(3)]
    killer = threading.Thread(target=_kill, args=(server, tally, stop, calm, chance))
    began = time.monotonic()
    for thread in (*clients, killer):
        thread.start()
    stop.wait(seconds * WARM_UP_SHARE)
    before = _settled(server, calm)
    stop.wait(seconds * (1 - WARM_UP_SHARE) / 2)
    between = _settled(server, calm)
    stop.wait(max(0.0, seconds - (time.monotonic() - began)))
    stop.set()
    for thread in (*clients, killer):
        thread.join(JOB_SECONDS_MAX)
    after = _settled(server, calm)
    if any(thread.is_alive() for thread in clients):
        tally.flaw(f"a job had not ended {JOB_SECONDS_MAX:.0f} s after it was submitted")
    if tally.killed_items > tally.kills:
        tally.flaw(f"{tally.killed_items} items failed for {tally.kills} kills")
    if after.service_fds > before.service_fds or after.zygote_fds > before.zygote_fds:
        tally.flaw(f"files were left open: {before}, then {after}")
    if after.rss_bytes > before.rss_bytes * (1 + RSS_GROWTH_MAX) + RSS_GROWTH_BYTES_MAX:
        tally.flaw(f"memory has grown: {before}, then {after}")
    print(f"{time.monotonic() - began:.0f} s: {tally.jobs} jobs, {tally.items} items, each with one result")
    print(
        f"{tally.kills} workers and {tally.zygotes} zygotes killed; {tally.killed_items} items went with a worker"
    )
    print(f"after the warm-up {before}; later {between}; at the end {after}")
    for flaw in tally.flaws[:20]:
        print(f"WRONG: {flaw}")
    return 1 if tally.flaws else 0


def _load(server: Server, tally: Tally, stop: threading.Event, number: int) -> None:
    """Submit one job after the other, and account for each of their items."""
    with server.client() as api:
        for kind in itertools.islice(itertools.cycle(KINDS), number * 2, None):
            if stop.is_set():
                return
            try:
                _account(api, kind, tally)
            except (httpx.HTTPError, AssertionError) as error:
                tally.flaw(f"{kind.task}: {type(error).__name__}: {error}")


def _account(api: httpx.Client, kind: Kind, tally: Tally) -> None:
    body = {"task": kind.task, "items": list(kind.items), **kind.options}
    job = api.post("/v1/jobs", json=body).raise_for_status().json()
    deadline = time.monotonic() + JOB_SECONDS_MAX
    while job["status"] != "completed":
        assert time.monotonic() < deadline, f"job {job['id']} does not end: {job['counts']}"
        assert job["status"] in ("queued", "running"), job
        job = api.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=10"}).raise_for_status().json()
    lines = [
        _decoded(line) for line in api.get(job["links"]["results"]).raise_for_status().content.splitlines()
    ]
    assert sorted(line["index"] for line in lines) == list(range(len(kind.items))), "each item once"
    killed = 0
    for line in lines:
        expected, error = kind.outputs[line["index"]], line.get("error")
        if error is not None and error["kind"] == "crashed" and error.get("signal") in KILLED:
            killed += 1
        elif error is not None:
            assert expected is None, f"{line['index']} failed: {error}"
        else:
            assert line["output"] == expected, f"{line['index']}: {line['output']!r} is not {expected!r}"
    api.delete(f"/v1/jobs/{job['id']}").raise_for_status()
    with tally.lock:
        tally.jobs += 1
        tally.items += len(lines)
        tally.killed_items += killed


def _decoded(line: bytes) -> dict[str, Any]:
    document = json.loads(line)
    assert isinstance(document, dict)
    return document


def _kill(
    server: Server, tally: Tally, stop: threading.Event, calm: threading.Event, chance: random.Random
) -> None:
    """A signal to some worker every 20 ms, and to the zygote now and then; nothing while it should be calm."""
    service = psutil.Process(server.pid)
    zygote_at = time.monotonic() + ZYGOTE_SECONDS
    while not stop.wait(KILL_SECONDS):
        if calm.is_set():
            continue
        with suppress(psutil.Error, IndexError):
            zygote = service.children()[0]
            if time.monotonic() >= zygote_at:
                zygote_at += ZYGOTE_SECONDS
                zygote.kill()
                tally.zygotes += 1
                continue
            worker = chance.choice(zygote.children())
            worker.send_signal(chance.choice(SIGNALS))
            tally.kills += 1


def _settled(server: Server, calm: threading.Event) -> Footprint:
    """The least that the service holds within a while without deaths; what is on its way does not count."""
    calm.set()
    try:
        looks = list(_looks(server))
    finally:
        calm.clear()
    return Footprint(
        min(look.service_fds for look in looks),
        min(look.zygote_fds for look in looks),
        min(look.rss_bytes for look in looks),
    )


def _looks(server: Server) -> Iterator[Footprint]:
    """What it holds at moments when the pool is whole: a zygote that has just been started holds less."""
    service = psutil.Process(server.pid)
    last = time.monotonic() + SETTLE_SECONDS_MAX
    count = 0
    with server.client() as api:
        while time.monotonic() < last and count < SETTLE_LOOKS:
            pool = api.get("/v1/pool").raise_for_status().json()["pools"]["cpu"]
            with suppress(psutil.Error, IndexError):
                zygote = service.children()[0]
                look = Footprint(service.num_fds(), zygote.num_fds(), service.memory_info().rss)
                if len(zygote.children()) == len(pool["workers"]) == pool["processes"]:
                    count += 1
                    yield look
            time.sleep(0.02)


def _deaths(server: Server, count: int) -> int:
    """So many items that each take their worker down; then all is held that was before, and no more."""
    with server.client() as api:
        _crash(api, 200)
        before = _settled(server, threading.Event())
        began = time.monotonic()
        _crash(api, count)
        took = time.monotonic() - began
        after = _settled(server, threading.Event())
        restarts = api.get("/v1/pool").raise_for_status().json()["pools"]["cpu"]["restarts"]
    print(
        f"{count} workers taken down in {took:.1f} s, {count / took:.0f} a second; {restarts} replaced in all"
    )
    print(f"before {before}; at the end {after}")
    if (after.service_fds, after.zygote_fds) != (before.service_fds, before.zygote_fds):
        print("WRONG: files were left open")
        return 1
    return 0


def _crash(api: httpx.Client, count: int) -> None:
    """Items that each take their worker down, in jobs of a thousand."""
    for first in range(0, count, 1000):
        number = min(1000, count - first)
        body = {"task": "crash_if", "items": [[1, 1]] * number}
        job = api.post("/v1/jobs", json=body).raise_for_status().json()
        deadline = time.monotonic() + JOB_SECONDS_MAX
        while job["status"] != "completed":
            assert time.monotonic() < deadline, job["counts"]
            job = api.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=10"}).raise_for_status().json()
        assert job["counts"]["failed"] == number, job["counts"]
        api.delete(f"/v1/jobs/{job['id']}").raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
