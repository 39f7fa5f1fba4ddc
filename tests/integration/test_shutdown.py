"""SIGTERM: streams end so that their readers come back, and nothing is lost."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from app.stores.sqlite import SqliteStore
from bench.server import ROOT, Server
from tests.conftest import serving
from tests.integration.answers import Document, client, document_of, ended, lines_of, submitted
from tests.waiting import eventually

DRAIN_SECONDS = 2.0
REFUSE_SECONDS_MAX = 20.0
"""How long a service that cannot start may take to say so."""


class Stream(threading.Thread):
    """Reads a stream to its end, and remembers what kind of end that was."""

    def __init__(self, server: Server, url: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._url = url
        self.body = b""
        self.failure: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._server.client() as api, api.stream("GET", self._url) as response:
                for piece in response.iter_raw():
                    self.body += piece
        except httpx.HTTPError as error:
            self.failure = error


@dataclass
class Ending:
    """A service that was stopped while it had things to do."""

    seconds: float = 0.0
    status: int | None = None
    ready: list[int | None] = field(default_factory=list)
    """What /readyz said after the signal; None when nobody listened."""
    submission: httpx.Response | None = None
    streams: dict[str, Stream] = field(default_factory=dict)
    job_id: str = ""
    log: str = ""
    stored: list[tuple[int, int]] = field(default_factory=list)
    """(first, count) of the results in the store, between the stop and the next start."""
    job: Document = field(default_factory=dict)
    results: list[Document] = field(default_factory=list)


ITEMS = [0.05, 1.5, 4.0, 0.05]
"""Seconds: one is done before the signal, one ends while the service drains, one takes longer than it may.

None is so short that the next would be sent behind it."""


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Ending:
    """A job runs and two streams are open when SIGTERM comes; then the service is started again."""
    data = tmp_path_factory.mktemp("data")
    ending = Ending()
    with serving(data, drain_seconds=str(DRAIN_SECONDS)) as server:
        with client(server) as api:
            ending.job_id = submitted(api, "sleep_for", ITEMS, chunksize=1)["id"]
            job_url = f"/v1/jobs/{ending.job_id}"
            ending.streams = {
                "events": Stream(server, f"{job_url}/events?include=results"),
                "lines": Stream(server, f"{job_url}/results.jsonl?follow=1"),
            }
            # Both of the long ones run now, and both readers have what there is.
            eventually(lambda: counts(api, ending.job_id)["succeeded"] == 1, 10, "the first result")
            eventually(lambda: counts(api, ending.job_id)["running"] == 2, 10, "two items that run")
            eventually(
                lambda: all(b'"index":0' in stream.body for stream in ending.streams.values()), 10, "streams"
            )
            started = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            eventually(lambda: closed(api, ending), DRAIN_SECONDS, "that no more jobs are taken")
        ending.status = server.end()
        ending.seconds = time.monotonic() - started
        ending.log = server.log
        for stream in ending.streams.values():
            stream.join(10)
        ending.stored = stored_ranges(data, ending.job_id)
        server.start()
        with client(server) as api:
            ending.job = ended(api, ending.job_id)
            ending.results = lines_of(api.get(f"{job_url}/results.jsonl?order=index").content)
    return ending


def counts(api: httpx.Client, job_id: str) -> dict[str, int]:
    found = document_of(api.get(f"/v1/jobs/{job_id}"))["counts"]
    assert isinstance(found, dict)
    return found


def closed(api: httpx.Client, ending: Ending) -> bool:
    """Whether the service says, or shows, that it is going."""
    try:
        ending.ready.append(api.get("/readyz").status_code)
        if ending.ready[-1] == 503:
            ending.submission = api.post("/v1/jobs", json={"task": "square", "items": [1]})
    except httpx.TransportError:
        ending.ready.append(None)
    return ending.ready[-1] != 200


def stored_ranges(data: Path, job_id: str) -> list[tuple[int, int]]:
    store = SqliteStore(data / "millpond.sqlite")
    store.open()
    ranges = asyncio.run(store.done_ranges(job_id))
    store.close()
    return ranges


def test_a_stop_takes_no_longer_than_its_drain(ending: Ending) -> None:
    """And ends by the signal it was asked with, or with 0."""
    assert ending.seconds < DRAIN_SECONDS + 2
    assert ending.status in (0, -signal.SIGTERM)


def test_a_stopping_service_takes_nothing_new(ending: Ending) -> None:
    """Not ready any more: 503, or nobody listens."""
    assert ending.ready[-1] in (503, None)
    if ending.submission is not None:
        assert ending.submission.status_code == 503
        assert int(ending.submission.headers["retry-after"]) > 0


def test_events_end_with_when_to_come_back(ending: Ending) -> None:
    """The last one is the job, with a `retry`; never an `end`, and the body is whole."""
    stream = ending.streams["events"]
    *_, last, rest = stream.body.split(b"\n\n")

    assert stream.failure is None
    assert rest == b""
    fields = dict(line.split(b": ", 1) for line in last.strip().split(b"\n") if not line.startswith(b":"))
    assert fields[b"event"] == b"job"
    assert 1_000 <= int(fields[b"retry"]) <= 15_000
    assert fields[b"id"] == b"1"
    assert b'"status":"running"' in fields[b"data"]
    assert b"event: end" not in stream.body


def test_lines_are_cut_off(ending: Ending) -> None:
    """A clean end would say that there are no more."""
    stream = ending.streams["lines"]

    assert isinstance(stream.failure, httpx.RemoteProtocolError)
    assert stream.body.startswith(b'{"index":0,')


def test_an_item_that_ends_within_the_drain_keeps_its_result(ending: Ending) -> None:
    """What was done is in the store when the process is gone; what was not begun has not been begun."""
    assert ending.stored == [(0, 1), (1, 1)]


def test_what_was_running_runs_again(ending: Ending) -> None:
    """After the next start, uncharged; every item has its one result."""
    assert ending.job["status"] == "completed"
    assert [line["output"] for line in ending.results] == ITEMS
    assert not any("attempts" in line for line in ending.results)


def test_a_stop_is_no_trouble(ending: Ending) -> None:
    """Nothing in the log asks for attention."""
    assert not [line for line in ending.log.splitlines() if "WARNING" in line or "Traceback" in line]


def test_an_idle_service_stops_at_once(tmp_path: Path) -> None:
    """It does not sit out its drain, nor a connection that is open and silent."""
    with serving(tmp_path, drain_seconds="30") as server, client(server) as api:
        api.get("/livez")
        started = time.monotonic()
        assert server.end() in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 3


def test_a_busy_log_stops_cleanly(tmp_path: Path) -> None:
    """Results come in by the thousand when the end comes: no error, and each item has one result after it."""
    total = 100_000
    with serving(tmp_path, drain_seconds="0") as server:
        with client(server) as api:
            body = "".join(f"{number}\n" for number in range(total))
            api.put("/v1/jobs/busy?task=square", content=body).raise_for_status()
        for done in (1, 30_000):
            with client(server) as api:
                wait_for_results(api, "busy", done)
            assert server.end() in (0, -signal.SIGTERM)
            assert "Traceback" not in server.log
            server.start()
        with client(server) as api:
            job = ended(api, "busy")
            results = lines_of(api.get("/v1/jobs/busy/results.jsonl?order=index").content)
    assert job["counts"]["succeeded"] == total
    assert [line["output"] for line in results] == [number * number for number in range(total)]


def wait_for_results(api: httpx.Client, job_id: str, number: int) -> None:
    eventually(lambda: counts(api, job_id)["succeeded"] >= number, 30, f"{number} results")


# -- Refusing to start


def refused(data: Path, **settings: str) -> tuple[int, str]:
    """Exit status and standard error of a service that cannot start."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
    environment |= {"MILLPOND_PORT": "0", "MILLPOND_DATA_DIR": str(data)}
    environment |= {f"MILLPOND_{name.upper()}": value for name, value in settings.items()}
    result = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=REFUSE_SECONDS_MAX,
    )
    return result.returncode, result.stderr


def test_a_data_directory_has_one_owner(server: Server) -> None:
    """A second service says who has it and what to do, and the first one goes on."""
    status, said = refused(server.data)

    assert status == 2
    assert "Traceback" not in said
    assert str(server.data) in said
    assert str(server.pid) in said
    assert "MILLPOND_DATA_DIR" in said
    with client(server) as api:
        assert api.get("/readyz").status_code == 200


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """In a line, with who cannot and why: most often it is a folder mounted into a container."""
    (tmp_path / "file").touch()

    status, said = refused(tmp_path / "file")

    assert status == 2
    assert (
        said
        == f"MILLPOND_DATA_DIR={tmp_path / 'file'}: user {os.geteuid()} can keep nothing there: File exists\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "99999"),
        ("processes", "0"),
        ("drain_seconds", "-1"),
        ("durability", "maybe"),
        ("host", "0.0.0.0"),
        ("tasks", ","),
        ("retention_seconds", "0"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, name: str, value: str) -> None:
    """By its variable, with what would be right; nothing has been made by then."""
    status, said = refused(tmp_path / "data", **{name: value})

    assert status == 2
    assert f"MILLPOND_{name.upper()}" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('the model file is missing')", "RuntimeError: the model file is missing"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError"),
        (None, "No module named 'own_tasks'"),
        ("import os\nos._exit(7)", "ended before it was ready"),
    ],
)
def test_tasks_that_do_not_import_are_told_with_their_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, told: str
) -> None:
    """On standard error, at once; the service does not start without them."""
    if source is not None:
        (tmp_path / "own_tasks.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    status, said = refused(tmp_path / "data", tasks="workers.tasks,own_tasks")

    assert status == 3
    assert told in said
    assert not {"uvicorn", "starlette", "asyncio"} & set(re.findall(r"\w+", said.partition("Traceback")[2]))
    if source is not None and "exit" not in source:
        assert str(tmp_path / "own_tasks.py") in said


@pytest.mark.parametrize(
    ("name", "hint"), [("proceses", "; did you mean MILLPOND_PROCESSES?"), ("workers", "")]
)
def test_a_setting_that_does_not_exist_is_named(tmp_path: Path, name: str, hint: str) -> None:
    """A typing error would otherwise be found much later; what is like none of them is not guessed at."""
    status, said = refused(tmp_path, **{name: "2"})

    assert status == 2
    assert said == f"MILLPOND_{name.upper()}: there is no such setting{hint}\n"


def test_a_module_without_tasks_is_refused(tmp_path: Path) -> None:
    """The module is named."""
    status, said = refused(tmp_path, tasks="json")

    assert status == 3
    assert "task module 'json' has no task" in said


def test_an_address_that_is_taken_is_told(tmp_path: Path, server: Server) -> None:
    """In one line, with the settings to change; nothing has been made by then."""
    port = server.url.rpartition(":")[2]

    status, said = refused(tmp_path / "data", port=port)

    assert status == 2
    assert f"MILLPOND_PORT={port}" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data" / "millpond.sqlite").exists()


def test_a_database_of_a_newer_millpond_is_left_alone(tmp_path: Path) -> None:
    """The refusal says what to do."""
    with closing(sqlite3.connect(tmp_path / "millpond.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 999")

    status, said = refused(tmp_path)

    assert status == 2
    assert "newer Millpond" in said
    assert "Traceback" not in said
