"""Failures by what they have in common, and how long items took: through restarts, and for jobs older than this."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import serving
from tests.contract.test_schema import SCHEMAS
from tests.integration.answers import Document, document_of, ended, problem_of, submitted


def errors(api: httpx.Client, job: Document) -> Document:
    return document_of(api.get(f"{job['links']['self']}/errors").raise_for_status())


def timings(api: httpx.Client, job: Document) -> Document:
    return document_of(api.get(f"{job['links']['self']}/timings").raise_for_status())


def test_failures_are_grouped_most_frequent_first(api: httpx.Client) -> None:
    """Each group has its count, times, samples, place in the task, and the traceback of one."""
    job = ended(api, submitted(api, "risky", [5, 1, 5, "x", 5])["id"])

    found = errors(api, job)

    raised, invalid = found["groups"]
    assert (found["failed"], found["others"]) == (4, 0)
    assert (raised["kind"], raised["type"], raised["count"]) == ("exception", "ValueError", 3)
    assert sorted(raised["sample_indexes"]) == [0, 2, 4]
    assert raised["place"].startswith("faults.py:")
    assert raised["place"].endswith(" in risky")
    assert "faults.py" in raised["traceback"]
    assert job["created_at"] <= raised["first_seen"] <= raised["last_seen"] <= job["ended_at"]
    assert (invalid["kind"], invalid["count"], invalid["traceback"]) == ("invalid_input", 1, None)
    sample = document_of(api.get(raised["links"]["sample"]))
    assert sample["error"]["traceback"] == raised["traceback"]


def test_a_job_tells_its_most_frequent_troubles(api: httpx.Client) -> None:
    """The same groups, shortly, in every Job: alone and in the list."""
    job = ended(api, submitted(api, "risky", [5, 1, 5, "x", 5])["id"])

    listed = document_of(api.get("/v1/jobs", params={"q": job["id"]}))["jobs"][0]

    often = errors(api, job)["groups"][0]
    assert job["error_groups"] == listed["error_groups"]
    assert job["error_groups"][0] == {
        **{member: often[member] for member in ("group", "kind", "type", "message", "count")},
        "sample_index": often["sample_indexes"][0],
    }
    assert [group["count"] for group in job["error_groups"]] == [3, 1]


def test_the_slowest_items_are_named(api: httpx.Client) -> None:
    """With quantiles over all items, the quick ones included."""
    job = ended(api, submitted(api, "sleep_for", [0, 0.2, 0, 0.1, 0, 0], chunksize=6)["id"])

    found = timings(api, job)

    assert [entry["index"] for entry in found["slowest"][:2]] == [1, 3]
    assert 200 <= found["slowest"][0]["duration_ms"] < 2000
    assert (found["items"], found["p99_ms"]) == (6, found["slowest"][0]["duration_ms"])
    assert found["median_ms"] is None or found["median_ms"] < 100


def test_a_job_without_results_has_neither(api: httpx.Client) -> None:
    """Nothing failed, and nothing took any time."""
    job = submitted(api, "sqrt", [])

    assert errors(api, job) == {"failed": 0, "groups": [], "others": 0}
    assert timings(api, job) == {"items": 0, "median_ms": None, "p95_ms": None, "p99_ms": None, "slowest": []}
    assert job["error_groups"] == []


@pytest.mark.parametrize("what", ["errors", "timings"])
def test_what_is_not_there_has_none(api: httpx.Client, what: str) -> None:
    """404, as everything of an unknown job."""
    problem_of(api.get(f"/v1/jobs/unknown/{what}"), 404)


def test_groups_go_on_where_they_were_after_a_restart(tmp_path: Path) -> None:
    """A job that is killed in the middle counts each failure once; ids and order are what they were."""
    with serving(tmp_path) as server, server.client() as api:
        done = ended(api, submitted(api, "risky", [5, "x"])["id"])
        before = errors(api, done)
        half = submitted(api, "risky", [5] * 20, chunksize=1, max_in_flight=1)
        server.kill()
    with serving(tmp_path) as server, server.client() as api:
        assert errors(api, done) == before
        half = ended(api, half["id"])
        assert half["error_groups"][0]["count"] == half["counts"]["failed"] == 20
        assert [group["count"] for group in errors(api, half)["groups"]] == [20]


def test_failures_from_before_there_were_groups_are_grouped_when_asked_for(tmp_path: Path) -> None:
    """Their times are not known; the Job itself tells none."""
    with closing(sqlite3.connect(tmp_path / "millpond.sqlite")) as connection:
        connection.executescript((SCHEMAS / "1.sql").read_text())
        connection.execute("DELETE FROM files")  # whose contents are not at hand
        connection.commit()
    with serving(tmp_path) as server, server.client() as api:
        job = document_of(api.get("/v1/jobs/done"))
        found = errors(api, job)

        assert job["error_groups"] == []
        assert (found["failed"], found["others"]) == (1, 0)
        (group,) = found["groups"]
        assert (group["count"], group["sample_indexes"], group["first_seen"]) == (1, [1], None)
        assert timings(api, job)["items"] == 0
