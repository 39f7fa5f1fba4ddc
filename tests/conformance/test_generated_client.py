"""A client that openapi-python-client makes of `/openapi.json`, used as a stranger would."""

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from bench.server import Server
from tests.integration.answers import lines_of

PACKAGE = "generated_millpond"
CONFIG = {
    "content_type_overrides": dict.fromkeys(
        ("application/jsonl", "application/x-ndjson"), "application/octet-stream"
    ),
    "literal_enums": True,
    "post_hooks": [],
}
"""JSON lines are bytes to it; how its code looks does not matter; what may be one of a few words is."""


@pytest.fixture(scope="module")
def generated(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Imports a module of the client, which was made without a warning."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    command = [
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"),
        *("--url", f"{server.url}/openapi.json", "--output-path", str(folder / PACKAGE)),
        *("--config", str(folder / "config.json")),
    ]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"{PACKAGE}.{name}")

    sys.path.insert(0, str(folder))
    try:
        yield module
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


@pytest.fixture
def client(generated: Any, server: Server) -> Iterator[Any]:
    with generated("client").Client(base_url=server.url, verify_ssl=False) as client:
        yield client


def test_the_generated_client_submits_waits_and_reads_results(generated: Any, client: Any) -> None:
    """From the submission to the last result, all in its own types."""
    models = generated("models")
    submission = models.Submission(task="sqrt", items=[1, 4, "nine"], label="generated")

    submitted = generated("api.jobs.submit_job").sync(client=client, body=submission)
    job = generated("api.jobs.get_job").sync(submitted.id, client=client, prefer="wait=30")
    page = generated("api.results.get_results").sync(submitted.id, client=client, order="index")

    assert isinstance(job, models.Job)
    assert (job.status, job.counts.succeeded, job.counts.failed) == ("completed", 2, 1)
    assert job.label == "generated"
    assert [result.output for result in page.results[:2]] == [1.0, 2.0]
    assert page.results[2].error.kind == "invalid_input"
    assert page.complete


def test_the_generated_client_sends_and_reads_json_lines(generated: Any, client: Any) -> None:
    """A job under an own id, its items and its results as JSON lines."""
    types = generated("types")
    put = generated("api.jobs.put_job").sync_detailed
    body = types.File(payload=io.BytesIO(b"1\n4\n"))

    answer = put("generated-lines", client=client, body=body, task="sqrt", prefer="wait=30")
    lines = generated("api.results.get_result_lines").sync_detailed(
        "generated-lines", client=client, order="index"
    )

    assert answer.status_code == 200
    assert [line["output"] for line in lines_of(lines.content)] == [1.0, 2.0]


def test_the_generated_client_reads_problems(generated: Any, client: Any) -> None:
    """What went wrong is a `Problem`, which names the place."""
    models = generated("models")
    submission = models.Submission(task="sqrt", items=[], max_attempts=0)

    problem = generated("api.jobs.submit_job").sync(client=client, body=submission)

    assert isinstance(problem, models.Problem)
    assert [fault.pointer for fault in problem.errors] == ["/max_attempts"]
