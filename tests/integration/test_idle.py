"""What nobody has asked for is not loaded: a service that waits is small, and starts fast."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.server import Server
from tests.integration.answers import client, ran

SEEN = """
import sys
from workers import task

@task
def modules() -> list[str]:
    return sorted(sys.modules)
"""
SEEN_BY_COROUTINE = SEEN.replace("def modules", "async def modules")
_IMPORTED = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)


def test_what_few_ask_for_is_loaded_when_they_do(tmp_path: Path) -> None:
    """The figures for Prometheus, what checks `params`, what guesses; nobody can ask for pydantic's first version."""
    with telling(tmp_path) as server, client(server) as api:
        assert ran(api, "square", [3])[0]["output"] == 9
        before = imported(server)
        api.get("/metrics").raise_for_status()
        job = {"task": "estimate_pi", "items": [{"samples": 10}], "params": {"seed": 1}}
        api.post("/v1/jobs", json=job).raise_for_status()
        assert "estimate_pi" in api.get("/v1/tasks/estimate_pie").json()["detail"]
        after = imported(server)

    assert {"fastapi", "workers.task"} < before
    assert before.isdisjoint({"prometheus_client", "jsonschema_rs", "difflib", "pydantic.v1.main"})
    assert before.isdisjoint({"argparse", "click", "multiprocessing", "logging.config"})
    assert before.isdisjoint({"fastapi.openapi.models"})
    assert {"prometheus_client", "jsonschema_rs", "difflib"} < after


@contextmanager
def telling(tmp_path: Path) -> Iterator[Server]:
    """A service that tells in its log what it, and what forks its workers, imports."""
    server = Server(tmp_path / "data", {"PYTHONPROFILEIMPORTTIME": "1", "MILLPOND_PROCESSES": "1"})
    server.start()
    try:
        yield server
    finally:
        server.kill()


def imported(server: Server) -> set[str]:
    return set(_IMPORTED.findall(server.read_log()))


@pytest.mark.parametrize(("source", "there"), [(SEEN, False), (SEEN_BY_COROUTINE, True)])
def test_workers_have_an_event_loop_only_if_a_task_is_a_coroutine(
    source: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor have they what reads pictures that the tasks which ship do not take, nor what looks for plugins."""
    (tmp_path / "seen.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server(tmp_path / "data", {"MILLPOND_TASKS": "workers.tasks,seen", "MILLPOND_PROCESSES": "1"})
    server.start()
    try:
        with client(server) as api:
            modules = set(ran(api, "modules", [{}])[0]["output"])
    finally:
        server.kill()

    assert ("asyncio" in modules, "workers.coroutines" in modules) == (there, there)
    assert "PIL.WebPImagePlugin" in modules
    assert "PIL.PdfImagePlugin" not in modules
    assert "importlib.metadata" not in modules


PLUGIN = """
heard = []

class Plugin:
    def new_schema_validator(self, schema, schema_type, *rest):
        heard.append(str(schema_type))
        return None, None, None

plugin = Plugin()
"""
HEARD = """
from workers import task

@task
def heard() -> bool:
    import hearing
    return bool(hearing.heard)
"""


def test_workers_have_the_plugins_of_pydantic_that_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the way of distributions, by an entry point."""
    (tmp_path / "hearing.py").write_text(PLUGIN)
    (tmp_path / "asking.py").write_text(HEARD)
    metadata = tmp_path / "hearing-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hearing\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[pydantic]\nhearing = hearing:plugin\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server(tmp_path / "data", {"MILLPOND_TASKS": "asking", "MILLPOND_PROCESSES": "1"})
    server.start()
    try:
        with client(server) as api:
            assert ran(api, "heard", [{}])[0]["output"] is True
    finally:
        server.kill()
