"""Items are given again: to read, to pipe into another submission, to run once more as a new job."""

import gzip
import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import (
    JSONL,
    MIXED,
    WAIT,
    Document,
    an_id,
    client,
    document_of,
    ended,
    lines_of,
    problem_names,
    problem_of,
    submitted,
)
from tests.waiting import eventually

FAILED = [item for item in MIXED if item["x"] == 5]
SUCCEEDED = [item for item in MIXED if item["x"] != 5]


def inputs(api: httpx.Client, job: Document, select: str = "") -> list[Any]:
    query = f"?select={select}" if select else ""
    return lines_of(api.get(f"{job['links']['inputs']}{query}").raise_for_status().content)


def retried(api: httpx.Client, job: Document, **body: str) -> Document:
    """The new job, finished."""
    answer = api.post(job["links"]["retry"], json=body)
    assert answer.status_code == 202, answer.text
    new = document_of(answer)
    assert answer.headers["location"] == new["links"]["self"]
    return ended(api, new["id"])


@pytest.fixture(scope="module")
def cut_off(server: Server) -> Document:
    """A cancelled job: the first item succeeded, the second failed, the other four were cut off."""
    with client(server) as api:
        items = [0, "no number", 30, 30, 30, 30]
        job = submitted(api, "sleep_for", items, chunksize=1, label="night", max_attempts=2, max_in_flight=2)
        eventually(lambda: document_of(api.get(job["links"]["self"]))["counts"]["failed"], 20, "a failure")
        eventually(lambda: document_of(api.get(job["links"]["self"]))["counts"]["succeeded"], 20, "a success")
        api.post(job["links"]["cancel"])
        return ended(api, job["id"])


# -- Reading items


@pytest.mark.parametrize(
    ("select", "items"),
    [
        ("", MIXED),
        ("all", MIXED),
        ("failed", FAILED),
        ("succeeded", SUCCEEDED),
        ("cancelled", []),
        ("unfinished", []),
    ],
)
def test_items_are_given_by_what_became_of_them(
    api: httpx.Client, mixed: Document, select: str, items: list[Document]
) -> None:
    """In input order, whatever order they ended in."""
    assert inputs(api, mixed, select) == items


@pytest.mark.parametrize(
    ("select", "items"),
    [("succeeded", [0]), ("failed", ["no number"]), ("cancelled", [30] * 4), ("unfinished", [30] * 4)],
)
def test_items_that_the_end_of_their_job_cut_off_are_given(
    api: httpx.Client, cut_off: Document, select: str, items: list[object]
) -> None:
    """Of a finished job those that are unfinished were cancelled."""
    assert inputs(api, cut_off, select) == items


def test_items_of_a_job_that_runs_are_given(api: httpx.Client) -> None:
    """What has no result is unfinished; nothing is cancelled yet."""
    job = submitted(api, "sleep_for", [0, "no number", 30, 30], chunksize=1)
    eventually(lambda: document_of(api.get(job["links"]["self"]))["counts"]["failed"], 20, "a failure")

    given = {name: inputs(api, job, name) for name in ("all", "failed", "unfinished", "cancelled")}
    api.post(job["links"]["cancel"] + "?force=1")

    assert given["all"] == [0, "no number", 30, 30]
    assert given["failed"] == ["no number"]
    assert given["unfinished"][-2:] == [30, 30]
    assert given["cancelled"] == []


def test_lines_come_back_as_the_bytes_that_were_sent(api: httpx.Client) -> None:
    """Blank ones are no items; what is no JSON comes back as it is."""
    body = b'{"a" : 1.0}\n\n  [1,  2]\nno json\n"\\u00e4"'
    job = document_of(api.put(f"/v1/jobs/{an_id()}?task=echo", content=body, headers=JSONL))
    ended(api, job["id"])

    assert api.get(job["links"]["inputs"]).content == b'{"a" : 1.0}\n  [1,  2]\nno json\n"\\u00e4"\n'
    assert api.get(f"{job['links']['inputs']}?select=failed").content == b"no json\n"


def test_every_line_of_a_large_job_is_given_once(api: httpx.Client) -> None:
    """Across blocks and segments, failed and succeeded together are all."""
    items = [{"x": 5 if n % 7 == 0 else n + 6} for n in range(60_000)]
    body = gzip.compress(b"".join(b"%b\n" % json.dumps(item).encode() for item in items))
    headers = JSONL | {"Content-Encoding": "gzip"}
    job = document_of(api.put(f"/v1/jobs/{an_id()}?task=risky", content=body, headers=headers))
    ended(api, job["id"])

    assert inputs(api, job) == items
    assert inputs(api, job, "failed") == [item for item in items if item["x"] == 5]
    assert inputs(api, job, "succeeded") == [item for item in items if item["x"] != 5]


def test_failed_items_are_piped_back_into_a_submission(
    server: Server, api: httpx.Client, mixed: Document
) -> None:
    """With two curls and nothing between."""
    new = an_id()
    command = (
        f"curl -sN '{server.url}/v1/jobs/{mixed['id']}/inputs.jsonl?select=failed'"
        f" | curl -sT - '{server.url}/v1/jobs/{new}?task=risky'"
    )

    subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=20)

    assert ended(api, new)["counts"]["failed"] == len(FAILED)


@pytest.mark.parametrize("select", ["some", "FAILED"])
def test_an_unknown_selection_is_named(api: httpx.Client, mixed: Document, select: str) -> None:
    """422 names the parameter."""
    problem = problem_of(api.get(f"{mixed['links']['inputs']}?select={select}"), 422)

    assert problem_names(problem) == {"select"}
    problem_of(api.get(f"/v1/jobs/{an_id()}/inputs.jsonl"), 404)


# -- Retrying


@pytest.mark.parametrize("body", [{}, {"select": "failed"}])
def test_failed_items_run_again_as_a_new_job(
    api: httpx.Client, mixed: Document, body: dict[str, str]
) -> None:
    """The new job says of which it is a retry; the old one stays as it was."""
    before = api.get(mixed["links"]["self"]).content

    new = retried(api, mixed, **body)

    assert (new["retry_of"], new["task"]) == (mixed["id"], "risky")
    assert inputs(api, new) == FAILED
    assert api.get(mixed["links"]["self"]).content == before


def test_an_empty_body_is_the_default(api: httpx.Client, mixed: Document) -> None:
    """`curl -X POST` is enough; and `Prefer: wait` waits for the new job."""
    answer = api.post(mixed["links"]["retry"], headers=WAIT)

    assert answer.status_code == 200
    assert document_of(answer)["counts"]["failed"] == len(FAILED)


@pytest.mark.parametrize("select", ["cancelled", "unfinished"])
def test_what_was_cut_off_runs_again_with_the_same_options(
    api: httpx.Client, cut_off: Document, select: str
) -> None:
    """Options, label and all; only the items are fewer."""
    new = document_of(api.post(cut_off["links"]["retry"], json={"select": select}))
    api.post(new["links"]["cancel"] + "?force=1")

    assert inputs(api, new) == [30] * 4
    for member in ("options", "label", "metadata", "params", "task"):
        assert new[member] == cut_off[member]


def test_failures_of_one_group_run_again(api: httpx.Client) -> None:
    """As the job's errors name it; a group that is none of its is refused."""
    job = ended(api, submitted(api, "risky", [5, "no number", 1, 5, "none either", 5])["id"])
    groups = {group["kind"]: group["group"] for group in job["error_groups"]}

    new = retried(api, job, error_group=groups["exception"])
    problem = problem_of(api.post(job["links"]["retry"], json={"error_group": "000000000000"}), 422)

    assert inputs(api, new) == [5, 5, 5]
    assert problem_names(problem) == {"/error_group"}


@pytest.mark.parametrize("select", ["cancelled", "unfinished"])
def test_a_retry_of_nothing_is_refused(api: httpx.Client, mixed: Document, select: str) -> None:
    """409 says what there is; a new job that has nothing to do would look like a success."""
    before = document_of(api.get("/v1/jobs?limit=1"))

    problem = problem_of(api.post(mixed["links"]["retry"], json={"select": select}), 409)

    assert f"no {select} items" in problem["detail"]
    assert f"{len(FAILED)} failed" in problem["detail"]
    assert document_of(api.get("/v1/jobs?limit=1")) == before


def test_a_job_without_failures_has_nothing_to_retry(api: httpx.Client) -> None:
    """The default is the failed ones, also of a job without any items."""
    for items in ([1], []):
        job = ended(api, submitted(api, "sqrt", items)["id"])

        assert "no failed items" in problem_of(api.post(job["links"]["retry"]), 409)["detail"]


def test_a_retry_with_a_key_is_made_once(api: httpx.Client, mixed: Document) -> None:
    """The same again is the same job; another selection under that key is refused."""
    key = {"Idempotency-Key": an_id()}

    first, second = (api.post(mixed["links"]["retry"], headers=key) for _ in range(2))
    group = {"error_group": mixed["error_groups"][0]["group"]}
    other = api.post(mixed["links"]["retry"], json=group, headers=key)

    assert document_of(second)["id"] == document_of(first)["id"]
    assert second.headers["idempotent-replayed"] == "true"
    problem_of(other, 422)


def test_what_cannot_be_retried_is_refused(api: httpx.Client, mixed: Document) -> None:
    """A job that runs or is none; a selection that is unknown; one of two kinds at once."""
    job = submitted(api, "sleep_for", [30])
    problem_of(api.post(job["links"]["retry"]), 409)
    api.post(job["links"]["cancel"] + "?force=1")
    problem_of(api.post(f"/v1/jobs/{an_id()}/retry"), 404)

    for body in ({"select": "all"}, {"selected": "failed"}, {"select": "cancelled", "error_group": "x"}):
        problem_of(api.post(mixed["links"]["retry"], json=body), 422)
    problem_of(api.post(mixed["links"]["retry"], json=["failed"]), 400)


def test_a_retry_that_the_service_died_in_left_nothing_behind(tmp_path: Path) -> None:
    """There is the whole new job, or none; and it can be asked for again."""
    total = 20_000
    body = (b'{"seconds":30' + b" " * 1000 + b"}\n") * total
    with serving(tmp_path) as server:
        with client(server) as api:
            job = document_of(api.put(f"/v1/jobs/{an_id()}?task=sleep_for", content=body, headers=JSONL))
            api.post(job["links"]["cancel"] + "?force=1")
            ended(api, job["id"])
            place = f"{server.url}{job['links']['retry']}"
            given = ["-X", "POST", "-H", "Idempotency-Key: again", "--json", '{"select":"cancelled"}']
            retrying = subprocess.Popen(["curl", "-s", *given, place], stdout=subprocess.DEVNULL)
            eventually(_copying(tmp_path), 20, "a copy under way")
            server.kill()
            retrying.wait()
        server.start()
        with client(server) as api:
            left = document_of(api.get("/v1/jobs"))["jobs"]
            key = {"Idempotency-Key": "again"}
            new = document_of(api.post(job["links"]["retry"], json={"select": "cancelled"}, headers=key))
            api.post(new["links"]["cancel"] + "?force=1")

            assert all(entry["counts"]["total"] == total for entry in left)
            assert ended(api, new["id"])["counts"]["cancelled"] == total


def _copying(data: Path) -> Callable[[], bool]:
    """Whether some upload has its first items."""
    connection = sqlite3.connect(f"file:{data}/millpond.sqlite?mode=ro", uri=True)
    query = "SELECT count(*) FROM blocks JOIN owners ON owners.id = owner WHERE upload IS NOT NULL"
    return lambda: bool(connection.execute(query).fetchone()[0])
