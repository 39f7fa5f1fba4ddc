"""The service listens before it is ready, and says which of the two it is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.begin import begin
from app.pool import launched
from app.settings import Settings
from bench.server import START_SECONDS_MAX, Server
from tests.integration.answers import client, document_of, problem_of, ran
from tests.waiting import eventually

SOURCE = """
import sys
from workers import task

with open({gate!r}) as gate:  # whoever opens a pipe waits for its other end
    gate.read()

@task
def mine(x: int) -> int:
    return x
"""


@contextmanager
def starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Path]]:
    """A service that listens, and whose tasks are loaded once somebody opens the pipe."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "mine.py").write_text(SOURCE.format(gate=str(gate)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server(tmp_path / "data", {"MILLPOND_TASKS": "mine", "MILLPOND_PROCESSES": "1"})
    server.start(ready=False)
    try:
        yield server, gate
    finally:
        if server.running:
            server.kill()


def test_while_it_starts_it_lives_and_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/livez is 200, /readyz is 503 with Retry-After; requests wait for the start and are then answered."""
    with (
        starting(tmp_path, monkeypatch) as (server, gate),
        client(server) as api,
        client(server) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        assert api.get("/livez").status_code == 200
        answer = api.get("/readyz")
        assert "starting" in problem_of(answer, 503)["detail"]
        assert answer.headers["retry-after"] == "1"
        asked = thread.submit(lambda: ran(other, "mine", [3]))
        assert problem_of(api.get("/readyz"), 503)
        gate.write_text("go on")

        assert asked.result(20)[0]["output"] == 3
        assert api.get("/readyz").status_code == 200
        assert document_of(api.get("/v1/tasks"))["tasks"][0]["name"] == "mine"


def test_a_start_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM ends it at once, with nothing left behind that runs."""
    with starting(tmp_path, monkeypatch) as (server, _):
        status = server.end()

    assert status == -15
    assert "Traceback" not in server.log
    another = Server(tmp_path / "data", {})
    another.start()  # the data directory is free
    another.end()


def test_a_pool_that_is_launched_and_never_started_leaves_no_process(tmp_path: Path) -> None:
    """What loads the tasks is there at once, and is ended when the start fails before it is asked for."""
    me = psutil.Process()
    before = set(me.children())
    settings = Settings(data_dir=tmp_path, processes=1)

    with launched(settings, begin()):
        (zygote,) = set(me.children()) - before

    assert not zygote.is_running()


def test_the_zygote_begins_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """It is there while its parent has not even read the settings; and ends with it, though it was told nothing."""
    gate, shut = tmp_path / "gate", tmp_path / "shut"
    os.mkfifo(gate)
    os.mkfifo(shut)  # that of the zygote, which needs the same and may come to it first
    (tmp_path / "pydantic.py").write_text(
        f"""import sys
with open({str(shut)!r} if "workers.zygote" in sys.orig_argv else {str(gate)!r}) as gate:
    gate.read()
raise ImportError"""
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "app"], env=environment, stderr=subprocess.DEVNULL
    ) as service:
        (zygote,) = eventually(psutil.Process(service.pid).children, START_SECONDS_MAX, "a zygote")
        gate.write_text("")  # returns once somebody reads

        assert service.wait(START_SECONDS_MAX) == 1
        assert not zygote.is_running()


def test_a_zygote_that_is_told_nothing_ends_with_its_socket() -> None:
    """As it does later, however the service went."""
    process, control = begin()
    with process:
        control.close()

        assert process.wait(START_SECONDS_MAX) == 0


@pytest.mark.parametrize(
    ("begun", "needless"),
    [
        ("app.__main__, app.begin", {"pydantic", "workers", "dataclasses", "logging"}),
        ("app.ownership, app.pool", {"asyncio", "workers.pool", "fastapi", "uvicorn", "app.main"}),
        ("workers.pool", {"workers.child", "workers.zygote"}),
        ("app.commands", {"fastapi", "uvicorn", "app.main"}),
    ],
)
def test_nothing_is_imported_that_is_not_needed_yet(begun: str, needless: set[str]) -> None:
    """What takes longest to import comes after the zygote has begun, which imports the tasks beside it."""
    source = f"import sys; import {begun}; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)

    assert set(begun.split(", ")) <= set(imported.stdout.split())
    assert not needless & set(imported.stdout.split())
