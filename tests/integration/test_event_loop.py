"""Nothing holds the event loop for more than 20 ms of CPU, whatever is sent and however much there is.

A service that watches its callbacks (tests/watched.py) tells of those that do. One that was unlucky once, as by the
garbage of what came before, is tried again: what is to be found out is held up each time.
"""

import gzip
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from bench.server import ROOT, Server
from tests.conftest import SETTINGS
from tests.integration.answers import JSON, JSONL, WAIT, document_of, ended, ran, submitted
from tests.integration.watching import HABITS

TRIES_MAX = 3
BODY_BYTES = 32 << 20
HEAD = b'{"task":"square","items":['
GZIP = {"Content-Encoding": "gzip"}
_HELD = re.compile(r"^held the loop for .*$", re.MULTILINE)
_OPENED = re.compile(r"^the loop opened '(.*)'$", re.MULTILINE)


class Watched:
    """A service, and what was held up in it."""

    def __init__(self, server: Server, api: httpx.Client) -> None:
        self.api = api
        self._server = server

    def log(self) -> str:
        return self._server.read_log()

    def held(self) -> list[str]:
        """What is said to have held the loop since the start."""
        return _HELD.findall(self.log() if self._server.running else self._server.log)

    def held_by(self, ask: Callable[[], object]) -> list[str]:
        """What is said to have held the loop each time that this was asked; no more than it takes to know."""
        held: list[str] = []
        for _ in range(TRIES_MAX):
            before = len(self.log())
            ask()
            self.api.get("/livez")  # is answered after what the loop had to do for the other
            held = _HELD.findall(self.log()[before:])
            if not held:
                break
        return held


@contextmanager
def watching(data: Path, **settings: str) -> Iterator[Watched]:
    environment = {f"MILLPOND_{name.upper()}": value for name, value in (SETTINGS | settings).items()}
    server = Server(data, environment, "tests.watched")
    server.start()
    try:
        with server.client() as api:
            yield Watched(server, api)
    finally:
        server.end()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("watched"), tasks=HABITS) as running:
        yield running


def filled(before: bytes, unit: bytes, after: bytes, size: int = BODY_BYTES) -> bytes:
    """A body of about this size, of as many units with commas between them."""
    number = (size - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * number) + after


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
    """By the CPU that it uses, and the files that it opens; what else only takes time is not seen."""
    script = """
import asyncio, sys, time
from tests.watched import watch

async def main():
    time.sleep(0.1)
    open("/dev/null").close()
    await asyncio.sleep(0)
    print("asleep", file=sys.stderr, flush=True)
    while time.thread_time() < began + 2:
        pass

watch()
began = time.thread_time()
asyncio.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=True
    )

    assert [line.partition(" for ")[0] for line in ran.stderr.splitlines()] == [
        "the loop opened '/dev/null'",
        "asleep",
        "held the loop",
    ]


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


ITEM_BYTES = 7 << 20
RESULT_BYTES = 48 << 20
VIEWED_BYTES = 12 << 20
VIEWERS = 24
ITEMS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: filled(b"[", b'{"x":1,"y":[1,2,{"z":3}]}', b"]", ITEM_BYTES // 2),
    "numbers": lambda: filled(b"[", b"7", b"]", ITEM_BYTES // 2),
    "one string": lambda: b'"' + b"a" * ITEM_BYTES + b'"',
    "not JSON": lambda: b'"' + b"\xff" * ITEM_BYTES,
    "a large key": lambda: b'{"id":"' + b"a" * ITEM_BYTES + b'"}',
    "a large name": lambda: b'{"%s' % token_hex(4).encode() + b"a b1 " * (ITEM_BYTES // 10) + b'":1}',
}


@pytest.mark.parametrize("name", ITEMS)
def test_a_large_item_holds_nobody_up(watched: Watched, name: str) -> None:
    """While it comes in and runs, is looked at, its result is read or sent with its job, and it is run again."""
    api = watched.api
    task = "square" if name.startswith("a large") else "echo"

    def ask() -> None:
        address = f"/v1/jobs?task={task}&key_field=id"
        item = ITEMS[name]()
        answer = api.post(address, content=item, headers=JSONL | WAIT).raise_for_status()
        job = f"/v1/jobs/{document_of(answer)['id']}"
        shown = json.dumps(item.decode(errors="replace"), ensure_ascii=False).encode()
        there = api.get(f"{job}/items/0").content
        assert b'"input":%b,"output":' % (shown if name == "not JSON" else item) in there
        assert task == "square" or name == "not JSON" or b'"output":%b,"error":null,' % item in there
        for path in (
            "/results",
            "/results?order=index&status=succeeded",
            "/results.jsonl?status=failed",
            "/inputs.jsonl",
            "/events?include=results",
            "/errors",
            "/timings",
        ):
            api.get(job + path).raise_for_status()
        if task == "square" or name == "not JSON":
            again = document_of(api.post(f"{job}/retry", headers=WAIT).raise_for_status())
            api.delete(again["links"]["self"]).raise_for_status()
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_a_large_page_holds_nobody_up(watched: Watched) -> None:
    """In either order, and of one outcome; and results of as much as is sent with a job."""
    api = watched.api

    def ask() -> None:
        job = submitted(api, "text_of", [900] * 12_000)
        results = f"/v1/jobs/{ended(api, job['id'])['id']}/results"
        for query in ("", "order=index", "status=succeeded", "order=index&after=1000"):
            page = api.get(f"{results}?limit=10000&{query}").raise_for_status()
            assert len(page.content) > 7 << 20
        body = {"task": "text_of", "items": [1_000] * 999}
        job = document_of(api.post("/v1/jobs", json=body, headers=WAIT).raise_for_status())
        assert len(job["results"]) == 999

    assert watched.held_by(ask) == []


def test_a_result_of_many_megabytes_holds_nobody_up(watched: Watched) -> None:
    """However it is read: what is one line is sent in pieces."""
    api = watched.api

    def ask() -> None:
        job = f"/v1/jobs/{ended(api, submitted(api, 'text_of', [RESULT_BYTES])['id'])['id']}"
        for path in (
            "/items/0",
            "/results",
            "/results?order=index",
            "/results.jsonl",
            "/events?include=results",
        ):
            answer = api.get(job + path).raise_for_status()
            assert len(answer.content) > RESULT_BYTES
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_large_results_hold_nobody_up_whoever_views_them(watched: Watched) -> None:
    """As events or as lines, as soon as they are there."""
    api = watched.api

    def ask() -> None:
        job = f"/v1/jobs/{submitted(api, 'text_of', [], open=True)['id']}"
        with ThreadPoolExecutor(VIEWERS) as pool:
            reading = threading.Barrier(VIEWERS + 1)

            def view(number: int) -> int:
                address = f"{job}/events?include=results" if number % 4 else f"{job}/results.jsonl?follow=1"
                with api.stream("GET", address) as stream:
                    reading.wait()
                    return sum(map(len, stream.iter_raw()))

            views = [pool.submit(view, number) for number in range(VIEWERS)]
            reading.wait()
            items = b"100000\n" * 10 + b"%d\n" % VIEWED_BYTES
            api.post(f"{job}/items?offset=0", content=items, headers=JSONL).raise_for_status()
            api.post(f"{job}/seal").raise_for_status()
            assert min(view.result() for view in views) > VIEWED_BYTES
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_many_jobs_with_large_params_hold_nobody_up(watched: Watched) -> None:
    """Each may have 80 KiB that stand in every answer."""
    api = watched.api
    params = {"value": [{"x": n} for n in range(5_000)]}

    def ask() -> None:
        for _ in range(30):
            submitted(api, "echo", [], params=params)
        api.get("/v1/jobs?limit=1000").raise_for_status()
        with api.stream("GET", "/v1/events") as stream:
            next(stream.iter_bytes())

    assert watched.held_by(ask) == []
