"""Nothing holds the event loop for more than 20 ms of CPU, or has it wait, whatever is sent, however much there is."""

import gzip
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bench.server import ROOT
from tests.integration.answers import JSON, JSONL, ended, ran
from tests.integration.held import BODY_BYTES, HELD, TRIES_MAX, Watched, filled, watching

HEAD = b'{"task":"square","items":['
WORKERS = 128
GZIP = {"Content-Encoding": "gzip"}
_OPENED = re.compile(r"^the loop opened '(.*)'$", re.MULTILINE)

ADDRESSES = (
    "/v1/tasks",
    "/openapi.json",
    "/metrics",
    "/docs",
    "/",
    "/static/style.css",
    "/v1/jobs",
    "/nothing",
)
BODIES: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: filled(HEAD, b"1", b"],"),
    "not JSON at its end": lambda: filled(HEAD, b"1234567", b"x]}"),
    "not UTF-8 at its end": lambda: filled(HEAD, b"1234567", b'"\xff"]}'),
    "items last": lambda: filled(
        b'{"label":5,"items":[', b'{"x":1,"y":[1,2,{"z":3}]}', b"]}", BODY_BYTES // 4
    ),
    "items first": lambda: filled(b'{"items":[', b'["a,]"]', b'],"label":5}', BODY_BYTES // 4),
    "strings": lambda: filled(HEAD, b'"a"', b'],"label":5}', BODY_BYTES // 4),
    "one string": lambda: HEAD + b'"' + b"a" * (BODY_BYTES - 100) + b'"]}',
    "one list": lambda: filled(HEAD + b"[", b"1", b"]]}"),
    "a string of escapes": lambda: HEAD + b'"' + b"\\u0061" * (BODY_BYTES // 6 - 100) + b'"]}',
    "nested": lambda: b'{"items":' + b"[" * (BODY_BYTES - 100),
    "white space": lambda: b'{"items":' + b" " * (BODY_BYTES - 100) + b"[]}",
    "lines": lambda: filled(HEAD, b'{\n"x": 1\n}\n', b'],"label":5}', BODY_BYTES // 4),
    "params": lambda: filled(b'{"params":[', b"1", b'],"items":[]}'),
    "members": lambda: b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}",
}
"""Each is made when its turn comes: together they would take seconds, and hundreds of megabytes."""


def test_what_holds_the_loop_is_told() -> None:
    """By the CPU that it uses, by what Python says of itself that may wait, and by any wait that is long."""
    script = """
import asyncio, os, socket, sqlite3, sys, threading, time
from tests.watched import watch

async def main():
    for way, hold in WAYS.items():
        print(f"-{way}", file=sys.stderr, flush=True)
        hold()
        await asyncio.sleep(0)

def compute():
    began = time.thread_time()
    while time.thread_time() < began + 1:
        pass

def read():
    threading.Timer(1.5, there.send, [b"x"]).start()
    here.recv(1)

lock = threading.Lock()
lock.acquire()
here, there = socket.socketpair()
WAYS = {
    "nothing": lambda: None,
    "compute": compute,
    "open": lambda: open("/dev/null").close(),
    "list": lambda: os.listdir("/proc"),
    "connect": lambda: sqlite3.connect(":memory:").close(),
    "sleep": lambda: time.sleep(0.001),
    "lock": lambda: lock.acquire(timeout=1.5),
    "read": read,
}
watch()
asyncio.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=True
    )

    _, *ways = re.split("^-", ran.stderr, flags=re.MULTILINE)
    told = dict(way.split("\n", 1) for way in ways)
    assert told.pop("nothing") == ""
    assert told.pop("open") == "the loop opened '/dev/null'\n"
    assert told.pop("list") == "the loop opened '/proc'\n"
    assert told.pop("connect") == "the loop waited for sqlite3.connect (':memory:',)\n"
    assert told.pop("sleep") == "the loop waited for time.sleep (0.001,)\n"
    assert len(HELD.findall(told.pop("compute"))) == 1
    assert re.fullmatch(r"the loop waited [0-9.]+ ms in <Task .*>\n", told.pop("lock"))
    assert re.fullmatch(r"the loop waited [0-9.]+ ms in <Task .*>\n", told.pop("read"))
    assert told == {}


def test_what_is_asked_for_first_holds_nobody_up(tmp_path: Path) -> None:
    """Nor does the start: what is made once is ready before anybody can ask, or made by a thread."""
    for number in range(TRIES_MAX):
        with watching(tmp_path / str(number)) as watched:
            ran(watched.api, "square", [3])
            file = watched.api.post("/v1/files", content=b"abc").json()["links"]["self"]
            for address in (*ADDRESSES, file):
                watched.api.get(address)
            job = {"task": "estimate_pi", "items": [{"samples": 10}], "params": {"seed": 1}}
            watched.api.post("/v1/jobs", json=job).raise_for_status()
            held = watched.held()
        if not held:
            break

    assert held == []


@pytest.mark.parametrize("first", ["/static/style.css", "a file"])
def test_what_the_framework_needs_to_send_a_file_is_loaded_beside_the_loop(
    tmp_path: Path, first: str
) -> None:
    """Threads, and a table of types of files, which take most of what the loop may be held; whichever comes first."""
    with watching(tmp_path) as watched:
        file = watched.api.post("/v1/files", content=b"abc").json()["links"]["self"]
        watched.api.get(file if first == "a file" else first).raise_for_status()
        opened = _OPENED.findall(watched.log())

    assert [path for path in opened if "mime.types" in path or "anyio/_backends" in path] == []


@pytest.mark.parametrize("name", BODIES)
def test_a_large_body_holds_nobody_up(watched: Watched, name: str) -> None:
    """Whatever stands in it, and where."""
    body = BODIES[name]()

    def ask() -> None:
        answer = watched.api.post("/v1/jobs", content=body, headers=JSON)
        assert answer.status_code in (400, 413, 422)

    assert watched.held_by(ask) == []


LINES: dict[str, tuple[Callable[[], bytes], dict[str, str], int]] = {
    "one line": (lambda: b'"' + b"a" * BODY_BYTES + b'"', JSONL, 413),
    "blank lines": (lambda: b"\n" * (2 << 20), JSONL, 200),
    "every other line blank": (lambda: b"1\n\n" * (300 << 10), JSONL, 200),
    "a bomb": (lambda: gzip.compress(b'"' + b"a" * (8 * BODY_BYTES)), JSONL | GZIP, 413),
    "a bomb of JSON": (lambda: gzip.compress(b'{"items":[' + b" " * (8 * BODY_BYTES)), JSON | GZIP, 413),
    "many packed": (lambda: gzip.compress(b"") * 20_000, JSONL | GZIP, 200),
    "escapes": (lambda: b'"' + b"\\u0061" * 1_000_000 + b'"\n', JSONL, 200),
    "names of files": (lambda: b"".join(b'"sha256-%064x"\n' % n for n in range(100_000)), JSONL, 200),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_hold_nobody_up(watched: Watched, name: str) -> None:
    """Nor does what is packed into little."""
    make, headers, status = LINES[name]
    body = make()

    def ask() -> None:
        address = (
            "/v1/jobs"
            if headers["Content-Type"] == "application/json"
            else "/v1/jobs?task=echo&validate_only=1"
        )
        assert watched.api.post(address, content=body, headers=headers).status_code == status

    assert watched.held_by(ask) == []


@pytest.mark.parametrize("kind", ["requests", "chunks"])
def test_what_is_read_at_once_holds_nobody_up(watched: Watched, kind: str) -> None:
    """Thousands of requests that wait for no answer, or a body in a chunk for each of its bytes."""
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head = b"POST /v1/jobs?task=square HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jsonl\r\n"
    body = b"1\r\n1\r\n1\r\n\n\r\n" * 50_000
    sent = {
        "requests": b"GET /livez HTTP/1.1\r\n\r\n" * 5_000,
        "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n",
    }[kind]

    def ask() -> None:
        with socket.create_connection(
            (watched.api.base_url.host, watched.api.base_url.port or 0)
        ) as connection:
            connection.settimeout(60)
            sender = threading.Thread(target=connection.sendall, args=(sent + last,))
            sender.start()
            answers = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            sender.join()
        assert answers.count(b"HTTP/1.1 20") == (5_001 if kind == "requests" else 2)

    assert watched.held_by(ask) == []


def test_a_form_holds_nobody_up(watched: Watched) -> None:
    """Its fields are bounded together."""
    fields = {f"param.a{n}": (None, "x" * (1 << 20)) for n in range(30)}

    def ask() -> None:
        assert watched.api.post("/v1/jobs", files=fields).status_code == 413

    assert watched.held_by(ask) == []


def test_a_large_job_holds_nobody_up(watched: Watched) -> None:
    """While it is submitted, looked at, changed, cancelled, run again and deleted."""
    body = b'{"task":"sleep_for","open":true,"items":[' + b",".join([b'{"seconds":0.01}'] * 500_000) + b"]}"
    api = watched.api

    def ask() -> None:
        job_id = api.post("/v1/jobs", content=body, headers=JSON).raise_for_status().json()["id"]
        job = f"/v1/jobs/{job_id}"
        for method, path, said in (
            ("PATCH", "", {"priority": "high"}),
            ("GET", "/results?order=index&limit=1000", None),
            ("GET", "/results?status=failed", None),
            ("GET", "/explain", None),
            ("POST", "/pause", None),
            ("POST", "/resume", None),
            ("POST", "/seal", None),
            ("POST", "/cancel", None),
            ("GET", "/errors", None),
            ("GET", "/timings", None),
        ):
            api.request(method, job + path, json=said).raise_for_status()
        ended(api, job_id)
        api.post(f"{job}/retry", json={"select": "cancelled"}).raise_for_status()
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_many_results_hold_nobody_up(watched: Watched) -> None:
    """While they come, are read in pages and streams of either order, and go."""
    body = b'{"task":"square","items":[' + b",".join([b"7"] * 1_000_000) + b"]}"
    api = watched.api

    def ask() -> None:
        job_id = api.post("/v1/jobs", content=body, headers=JSON).raise_for_status().json()["id"]
        job = f"/v1/jobs/{job_id}"
        for address in (
            "/results?order=index&limit=10000",
            "/results.jsonl?follow=1",
            "/results?limit=10000",
            "/results?status=failed",
            "/inputs.jsonl",
        ):
            api.get(job + address).raise_for_status()
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_many_workers_hold_nobody_up(tmp_path: Path) -> None:
    """While they come, are given items together, are ended by force, and go."""

    def ask(api: httpx.Client) -> None:
        api.patch("/v1/pool/cpu", json={"processes": WORKERS}).raise_for_status()
        items = b'{"seconds":60}\n' * (3 * WORKERS)
        job = api.post("/v1/jobs?task=sleep_for", content=items, headers=JSONL).raise_for_status().json()
        deadline = time.monotonic() + 60
        while api.get(job["links"]["self"]).json()["counts"]["running"] < WORKERS:
            assert time.monotonic() < deadline
        api.post(f"{job['links']['cancel']}?force=1").raise_for_status()
        api.patch("/v1/pool/cpu", json={"processes": 1}).raise_for_status()
        ended(api, job["id"])

    for number in range(TRIES_MAX):
        with watching(tmp_path / str(number)) as watched:
            ask(watched.api)
            held = watched.held()
        if not held:
            break

    assert held == []
