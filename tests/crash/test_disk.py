"""A disk that is full, fails or is held by somebody else: nothing that was accepted is lost, and all goes on again."""

import errno
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from app.stores.verification import verify
from bench.server import Server
from tests.conftest import SETTINGS
from tests.crash.readers import Reader, events, follow
from tests.harm.disk import Fault
from tests.harm.full import fill, mounted
from tests.integration.answers import (
    JSONL,
    Document,
    client,
    document_of,
    ended,
    lines_of,
    problem_of,
    ran,
    submitted,
)
from tests.waiting import eventually_moving

T = TypeVar("T")

TASKS = {"tasks": f"{SETTINGS['tasks']},tests.crash.gated"}
ITEMS = 2_000
ROOTS = 100_000
"""So many take more than half of a small disk."""
SECONDS_MAX = 20

KINDS = [
    pytest.param(errno.EIO, 503, "storage-unavailable", id="I/O error"),
    pytest.param(errno.EROFS, 503, "storage-unavailable", id="read-only"),
    pytest.param(errno.ENOSPC, 507, "storage-full", id="full"),
]


@contextmanager
def harmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Fault]]:
    """A service on a disk that can be made to fail."""
    fault = Fault(tmp_path / "fault")
    monkeypatch.setenv("HARM", "tests.harm.disk,tests.harm.payloads")
    monkeypatch.setenv("HARM_DISK", str(tmp_path / "fault"))
    server = Server(
        tmp_path / "data",
        {f"MILLPOND_{name.upper()}": value for name, value in (SETTINGS | TASKS).items()},
        "tests.harm",
    )
    server.start()
    try:
        yield server, fault
    finally:
        fault.end()
        if server.running:
            server.end()
    assert "Traceback" not in server.log, server.log
    assert verify(tmp_path / "data").problems == []


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Not there yet."""
    return tmp_path / "gate"


def a_running_job(api: httpx.Client, gate: Path) -> Document:
    """A job of items that take a millisecond or so, with some results; the last waits until `gate` is there."""
    items = "".join(f"{0.001 + number * 1e-9!r}\n" for number in range(ITEMS - 1))
    last = json.dumps({"seconds": 0.001, "path": str(gate)})
    url = "/v1/jobs?task=sleep_until"
    job = document_of(api.post(url, content=f"{items}{last}".encode(), headers=JSONL).raise_for_status())
    moving(api, job, lambda: counts(api, job)["succeeded"] > 50, "some results")
    return job


def trouble(api: httpx.Client, job: Document, gate: Path) -> Document:
    """What the job says of it, now that the disk fails: at the latest when the last item cannot be stored."""
    gate.touch()
    return moving(api, job, lambda: paused(api, job), "the trouble is told")


def moving(api: httpx.Client, job: Document, look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, however long that takes as long as the job moves."""
    return eventually_moving(look, lambda: counts(api, job), SECONDS_MAX, what)


def counts(api: httpx.Client, job: Document) -> dict[str, int]:
    found = document_of(api.get(job["links"]["self"]))["counts"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("error", "status", "code"), KINDS)
def test_what_cannot_be_deleted_is_there_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, status: int, code: str
) -> None:
    """A job, and a file; the reason is told, and it can be asked again."""
    with harmed(tmp_path, monkeypatch) as (server, fault), client(server) as api:
        job = ended(api, submitted(api, "square", [3])["id"])
        places = [job["links"]["self"], api.post("/v1/files", content=b"kept").headers["location"]]
        with fault.lasting(error):
            for place in places:
                assert problem_of(api.delete(place), status)["type"] == f"/problems/{code}"
        for place in places:
            assert api.get(place).status_code == 200
            assert api.delete(place).status_code == 204


def paused(api: httpx.Client, job: Document) -> Document | None:
    """What the job says of its trouble, once it has some."""
    error = document_of(api.get(job["links"]["self"]))["error"]
    return error if isinstance(error, dict) else None


@pytest.mark.parametrize(("error", "status", "code"), KINDS)
def test_work_pauses_while_the_disk_fails_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Path, error: int, status: int, code: str
) -> None:
    """New jobs are refused with the reason, old ones tell it and can be read; nothing is lost or repeated."""
    with harmed(tmp_path, monkeypatch) as (server, fault), client(server) as api:
        job = a_running_job(api, gate)
        readers = [
            Reader(server, job["id"], reading)
            for reading in (follow(""), follow("&order=index"), events("include=results"))
        ]
        with fault.lasting(error):
            told = trouble(api, job, gate)
            assert told["type"] == f"/problems/{code}"
            before = counts(api, job)
            answer = api.post("/v1/jobs", content=b"not even read")
            assert problem_of(answer, status)["type"] == f"/problems/{code}"
            assert int(answer.headers["retry-after"]) > 0
            problem_of(api.put("/v1/jobs/mine?task=square", content=b"3\n"), status)
            assert api.get("/livez").status_code == api.get("/readyz").status_code == 200
            assert len(lines_of(api.get(job["links"]["results"]).content)) == before["succeeded"]
            # What waited in a worker may go back meanwhile, but nothing is done.
            assert counts(api, job)["succeeded"] == before["succeeded"]

        done = ended(api, job["id"])
        log = api.get(job["links"]["results"]).content
        assert (done["status"], done["error"], done["counts"]["succeeded"]) == ("completed", None, ITEMS)
        assert sorted(line["index"] for line in lines_of(log)) == list(range(ITEMS))
        for reader, lines in zip(readers, (log, None, log), strict=True):
            read = reader.result(SECONDS_MAX)
            assert sorted(read) == sorted(log.splitlines())
            assert lines is None or read == lines.splitlines()
        assert ran(api, "square", [3])[0]["output"] == 9
    assert server.log.count("no item starts until they can") == server.log.count("can be stored again") == 1


def test_a_service_that_is_killed_while_its_disk_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Path
) -> None:
    """What it could not store runs again."""
    with harmed(tmp_path, monkeypatch) as (server, fault):
        with client(server) as api:
            job = a_running_job(api, gate)
            with fault.lasting(errno.EIO):
                trouble(api, job, gate)
                before = api.get(job["links"]["results"]).content
                server.kill()
        server.start()
        with client(server) as api:
            assert ended(api, job["id"])["counts"]["succeeded"] == ITEMS
            log = api.get(job["links"]["results"]).content
    assert log.startswith(before)
    assert sorted(line["index"] for line in lines_of(log)) == list(range(ITEMS))


def test_a_cancel_that_cannot_be_stored_says_so_and_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Path
) -> None:
    """503 after a while; once the disk is well again the job is cancelled."""
    with harmed(tmp_path, monkeypatch) as (server, fault), client(server) as api:
        job = a_running_job(api, gate)
        with fault.lasting(errno.EIO):
            trouble(api, job, gate)
            told = problem_of(api.post(job["links"]["cancel"]), 503)
            assert "not stored yet" in told["detail"]

        assert ended(api, job["id"])["status"] == "cancelled"


def test_a_database_that_somebody_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Path
) -> None:
    """As with a disk that fails; reading goes on."""
    with harmed(tmp_path, monkeypatch) as (server, _), client(server) as api:
        job = a_running_job(api, gate)
        with closing(sqlite3.connect(tmp_path / "data" / "millpond.sqlite", timeout=20)) as other:
            other.execute("BEGIN IMMEDIATE")
            told = trouble(api, job, gate)
            other.execute("ROLLBACK")

        assert "locked" in told["detail"]
        assert ended(api, job["id"])["counts"]["succeeded"] == ITEMS


# -- A disk that is really full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 8) as place:
        yield place


@pytest.mark.parametrize("killed", [False, True])
def test_a_full_disk_holds_work_up_until_there_is_space(small_disk: Path, gate: Path, killed: bool) -> None:
    """Jobs, JSON lines and files are answered 507, and leave nothing; also across a SIGKILL nothing is lost."""
    settings = {f"MILLPOND_{name.upper()}": value for name, value in (SETTINGS | TASKS).items()}
    server = Server(small_disk / "data", settings)
    server.start()
    ballast = small_disk / "ballast"
    try:
        with client(server) as api:
            job = a_running_job(api, gate)
            fill(ballast)
            trouble(api, job, gate)
            before = api.get(job["links"]["results"]).content
            for answer in (
                api.post("/v1/jobs", json={"task": "square", "items": [1]}),
                api.put("/v1/jobs/mine?task=square", content=b"1\n" * 100_000),
                api.post("/v1/files", content=b"x" * 100_000),
            ):
                assert problem_of(answer, 507)["type"] == "/problems/storage-full"
            if killed:
                server.kill()
        ballast.unlink()
        if killed:
            server.start()
        with client(server) as api:
            assert ended(api, job["id"])["counts"]["succeeded"] == ITEMS
            log = api.get(job["links"]["results"]).content
            assert api.get("/v1/jobs/mine").status_code == 404
    finally:
        server.end()
    assert log.startswith(before)
    assert sorted(line["index"] for line in lines_of(log)) == list(range(ITEMS))
    assert list((small_disk / "data").rglob(".new-*")) == []
    assert verify(small_disk / "data").problems == []
    assert "Traceback" not in server.log, server.log


@pytest.mark.parametrize("killed", [False, True])
def test_to_delete_a_job_makes_room_on_a_disk_that_jobs_have_filled(small_disk: Path, killed: bool) -> None:
    """Nobody but the service has to remove anything: the job that waits goes on, also in the next service."""
    settings = {f"MILLPOND_{name.upper()}": value for name, value in SETTINGS.items()}
    server = Server(small_disk / "data", settings | {"MILLPOND_PRUNE_SECONDS": "0.1"})
    server.start()
    body = b"".join(b"%d\n" % number for number in range(ROOTS))
    try:
        with client(server) as api:
            jobs = [
                document_of(api.put(f"/v1/jobs/{job}?task=sqrt", content=body, headers=JSONL))
                for job in ("first", "second")
                if job == "first" or ended(api, "first")
            ]
            moving(api, jobs[1], lambda: paused(api, jobs[1]), "the trouble is told")
            api.delete("/v1/jobs/first").raise_for_status()
            if killed:
                server.kill()
        if killed:
            server.start()
        with client(server) as api:
            assert ended(api, "second")["counts"]["succeeded"] == ROOTS
    finally:
        server.end()
    assert verify(small_disk / "data").problems == []
    assert "Traceback" not in server.log, server.log


def test_a_file_that_does_not_fit_leaves_nothing(small_disk: Path) -> None:
    """Neither uploaded whole, nor made by a task; the reason is told."""
    settings = {f"MILLPOND_{name.upper()}": value for name, value in (SETTINGS | TASKS).items()}
    server = Server(small_disk / "data", settings)
    server.start()
    try:
        with client(server) as api:
            for answer in (
                api.post("/v1/files", content=b"x" * (9 << 20)),
                api.post("/v1/files", files={"file": ("a.bin", b"x" * (9 << 20))}),
            ):
                assert problem_of(answer, 507)["type"] == "/problems/storage-full"
            assert list((small_disk / "data").rglob(".new-*")) == []
            assert submitted(api, "square", [2])["id"]
    finally:
        server.end()
    assert "Traceback" not in server.log, server.log
