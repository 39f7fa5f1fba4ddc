"""The curl lines that users will type, run as they are typed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from bench.server import Server
from tests.integration.answers import Document, a_picture, an_id, check_counts, client, ended, lines_of

SECONDS_MAX = 30

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")) and "CI" not in os.environ,
    reason="no curl or no jq; in CI that is an error",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user sits: with items and pictures."""
    (tmp_path / "items.jsonl").write_text("1\n4\n-9\n16")
    (tmp_path / "a.jpg").write_bytes(a_picture("red", 900))
    (tmp_path / "b.jpg").write_bytes(a_picture("blue", 900))
    return tmp_path


def typed(line: str, server: Server, folder: Path) -> bytes:
    """What the line prints, once `$H` is the service."""
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=os.environ | {"H": server.url, "NO_PROXY": "*"},
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def job_of(output: bytes) -> Document:
    document = json.loads(output)
    assert isinstance(document, dict)
    check_counts(document)
    return document


def forget(server: Server, job_id: str) -> None:
    """A line as it is typed has a job id as it is typed: make room for it."""
    with client(server) as api:
        if api.post(f"/v1/jobs/{job_id}/cancel").status_code != 404:
            ended(api, job_id)
            api.delete(f"/v1/jobs/{job_id}").raise_for_status()


def test_json_with_prefer_wait_prints_the_results(server: Server, folder: Path) -> None:
    """The square roots stand in the answer, in order."""
    line = """curl --json '{"task":"sqrt","items":[1,4,9]}' -H 'Prefer: wait=10' $H/v1/jobs"""

    job = job_of(typed(line, server, folder))

    assert job["status"] == "completed"
    assert [result["output"] for result in job["results"]] == [1.0, 2.0, 3.0]


def test_a_form_of_pictures_resizes_them(server: Server, folder: Path) -> None:
    """Each file is an item, and the width is what the query says."""
    line = """curl -F file=@a.jpg -F file=@b.jpg "$H/v1/jobs?task=resize_image&param.width=800\""""

    job = job_of(typed(line, server, folder))

    with client(server) as api:
        assert ended(api, job["id"])["counts"]["succeeded"] == 2
        results = lines_of(api.get(f"{job['links']['results']}?order=index").content)
    assert [result["output"]["name"] for result in results] == ["a.jpg", "b.jpg"]
    assert job["params"] == {"width": 800}


def test_a_job_under_an_own_id_can_be_followed_watched_and_cancelled(server: Server, folder: Path) -> None:
    """The lines for `nightly-1122`, one after the other: submit, filter failures, watch, cancel."""
    forget(server, "nightly-1122")

    job = job_of(typed('curl -T items.jsonl "$H/v1/jobs/nightly-1122?task=sqrt"', server, folder))
    again = job_of(typed('curl -T items.jsonl "$H/v1/jobs/nightly-1122?task=sqrt"', server, folder))
    follow = """curl -N "$H/v1/jobs/nightly-1122/results.jsonl?follow=1" | jq -c 'select(.error)'"""
    failures = typed(follow, server, folder)
    events = typed('curl -N "$H/v1/jobs/nightly-1122/events"', server, folder)
    cancelled = job_of(typed("curl -X POST $H/v1/jobs/nightly-1122/cancel", server, folder))

    assert job["id"] == "nightly-1122"
    assert again["created_at"] == job["created_at"]
    assert [line["index"] for line in lines_of(failures)] == [2]
    assert events.startswith(b"retry: ")
    assert b"\nevent: end\n" in events
    assert (cancelled["status"], cancelled["counts"]["total"]) == ("completed", 4)


def test_following_a_submission_writes_its_results_to_a_file(server: Server, folder: Path) -> None:
    """The answer to the upload is the result stream itself."""
    forget(server, "n4")

    typed('curl -T items.jsonl "$H/v1/jobs/n4?task=sqrt&follow=1" > out.jsonl', server, folder)

    results = sorted(lines_of((folder / "out.jsonl").read_bytes()), key=lambda line: int(line["index"]))
    assert [result.get("output") for result in results] == [1.0, 2.0, None, 4.0]


def test_a_pipe_can_be_uploaded(server: Server, folder: Path) -> None:
    """What has no length yet is sent in chunks."""
    line = f'seq 5000 | curl -T - "$H/v1/jobs/{an_id()}?task=square&follow=1"'

    assert len(lines_of(typed(line, server, folder))) == 5000


def test_a_large_upload_waits_to_be_asked_for(server: Server, folder: Path) -> None:
    """For a megabyte curl expects `100 Continue`; a submission that is wrong is refused before it is sent."""
    (folder / "items.jsonl").write_bytes(b"1\n" * 600_000)
    line = 'curl -sv -T items.jsonl "$H/v1/jobs/{id}?task={task}" 2>trace'

    wrong = job_of(typed(line.format(id=an_id(), task="sqtr"), server, folder))
    refused = (folder / "trace").read_text()
    right = job_of(typed(line.format(id=an_id(), task="sqrt"), server, folder))

    assert wrong["type"] == "/problems/unknown-task"
    assert "HTTP/1.1 422" in refused
    assert "100 Continue" not in refused
    assert "100 Continue" in (folder / "trace").read_text()
    with client(server) as api:
        assert ended(api, right["id"])["counts"]["total"] == 600_000


def test_a_form_that_curl_sends_by_mistake_is_told_what_to_type(server: Server, folder: Path) -> None:
    """`curl -d` sends a web form; the problem names `--json` and `-T`."""
    line = """curl -d '{"task":"sqrt","items":[1]}' $H/v1/jobs"""

    problem = job_of(typed(line, server, folder))

    assert problem["status"] == 415
    assert "--json" in problem["detail"]
    assert "-T" in problem["detail"]


@pytest.mark.parametrize("task", ["sqrt", "resize_image"])
def test_the_line_that_a_task_shows_runs(server: Server, api: httpx.Client, folder: Path, task: str) -> None:
    """What /v1/tasks says to type submits a job of that task."""
    forget(server, "my-job")
    (folder / "input").write_bytes(a_picture("red"))

    job = job_of(typed(api.get(f"/v1/tasks/{task}").json()["curl"], server, folder))

    assert job["task"] == task
    assert ended(api, job["id"])["counts"]["succeeded"] >= 1
