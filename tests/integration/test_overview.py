"""One stream of everything a dashboard shows: jobs as they change, and the workers."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.api.overview import JOBS_MAX, NEWEST
from tests.conftest import serving
from tests.integration.answers import Document, check_counts, ended, submitted
from tests.integration.callers import serving_keys

Told = tuple[str, Document]


@contextmanager
def watching(api: httpx.Client, last: str | None = None) -> Iterator[Iterator[Told]]:
    """(event, data) of the stream, as they come; `last` is the id of the last event that was seen before."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with api.stream("GET", "/v1/events", timeout=20, headers=headers) as response:
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        yield _told(response.iter_lines())


def _told(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            document = json.loads(fields["data"])
            check_counts(document)
            yield fields["event"], document
            fields = {}


def until(told: Iterator[Told], job_id: str, status: str) -> Document:
    """The job, once the stream says that it has this status."""
    for name, document in told:
        for job in document["jobs"] if name == "jobs" else ():
            if (job["id"], job["status"]) == (job_id, status):
                assert isinstance(job, dict)
                return job
    raise AssertionError("the stream has ended")


def test_it_begins_with_the_newest_jobs_and_the_workers(api: httpx.Client) -> None:
    """`retry`, then the list as it is."""
    job = submitted(api, "sqrt", [])

    with watching(api) as told:
        name, first = next(told)
        second, pools = next(told)

    assert (name, second) == ("jobs", "pool")
    assert first["reset"] is True
    assert first["jobs"][0]["id"] == job["id"]
    assert len(first["jobs"]) <= NEWEST
    assert pools == api.get("/v1/pool").json() or pools["pools"].keys() == {"cpu"}


def test_what_happens_to_a_job_is_told(api: httpx.Client) -> None:
    """It comes, it ends, it is deleted; also one that ended between two looks."""
    with watching(api) as told:
        next(told)
        job = submitted(api, "sleep_for", [30])
        until(told, job["id"], "running")
        api.post(job["links"]["cancel"])
        shown = until(told, job["id"], "cancelled")
        assert shown == ended(api, job["id"]) | {"results": None}
        quick = submitted(api, "sqrt", [])
        until(told, quick["id"], "completed")
        api.delete(quick["links"]["self"])
        assert quick["id"] in next(document["removed"] for _, document in told if document.get("removed"))


def test_who_comes_back_is_told_what_changed_meanwhile(api: httpx.Client) -> None:
    """After the event it names; with an id that says nothing here it starts anew."""
    with api.stream("GET", "/v1/events", timeout=20) as response:
        last = next(line for line in response.iter_lines() if line.startswith("id: ")).removeprefix("id: ")
    job = ended(api, submitted(api, "sqrt", [])["id"])
    gone = submitted(api, "sqrt", [])
    api.delete(gone["links"]["self"]).raise_for_status()

    with watching(api, last) as told:
        _, resumed = next(told)

    assert (resumed["reset"], resumed["more"]) == (False, 0)
    assert job["id"] in [entry["id"] for entry in resumed["jobs"]]
    assert gone["id"] in resumed["removed"]
    for nothing in ("1", "x", str(int(last) + 10**9)):
        with watching(api, nothing) as told:
            assert next(told)[1]["reset"] is True


def test_lists_come_at_most_twice_a_second(api: httpx.Client) -> None:
    """However much happens; each job that changed stands in an event once, with what is true by then."""
    with watching(api) as told:
        next(told)
        started = time.monotonic()
        ids = {submitted(api, "sqrt", [n])["id"] for n in range(JOBS_MAX + 20)}
        seen: list[Document] = []
        done: set[str] = set()
        skipped = 0
        while len(done) + skipped < len(ids):
            name, document = next(told)
            if name == "jobs":
                seen.append(document)
                found = [job["id"] for job in document["jobs"]]
                assert len(found) == len(set(found)) <= JOBS_MAX
                done |= {job["id"] for job in document["jobs"] if job["status"] == "completed"} & ids
                skipped += document["more"]

        assert len(seen) <= 2 * (time.monotonic() - started) + 1


def test_callers_are_told_of_their_own_jobs_only(tmp_path: Path) -> None:
    """Not even the id of another's, deleted or not."""
    with (
        serving_keys(tmp_path) as keyed,
        keyed.client("ann") as ann,
        keyed.client("bob") as bob,
        watching(bob) as told,
    ):
        text = json.dumps(next(told))
        hers = ended(ann, submitted(ann, "sqrt", [])["id"])
        ann.delete(hers["links"]["self"])
        his = submitted(bob, "sqrt", [])
        for _, document in told:
            text += json.dumps(document)
            if his["id"] in text:
                break

    assert hers["id"] not in text


def test_a_stop_ends_it_with_a_hint_to_come_back(tmp_path: Path) -> None:
    """A retry, then a clean end, while nothing happens."""
    with serving(tmp_path) as server, server.client() as api, api.stream("GET", "/v1/events") as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry: ")
        os.kill(server.pid, signal.SIGTERM)
        rest = list(lines)

    assert any(1_000 <= int(line.partition(": ")[2]) <= 5_000 for line in rest if line.startswith("retry: "))


@pytest.mark.parametrize("path", ["/v1/events", "/metrics", "/v1/jobs", "/v1/pool", "/v1/tasks", "/readyz"])
def test_head_starts_no_stream(api: httpx.Client, path: str) -> None:
    """Only headers come, at once."""
    response = api.head(path)

    assert (response.status_code, response.content) == (200, b"")
