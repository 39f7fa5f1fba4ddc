"""A job can be looked at, waited for, listed, cancelled and forgotten, and its document is true at every moment."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
import pytest

from tests.integration.answers import (
    Document,
    an_id,
    document_of,
    ended,
    lines_of,
    problem_of,
    submitted,
)

GRACE_SECONDS = 2.0


@contextmanager
def a_live_job(api: httpx.Client, items: list[float], **options: object) -> Iterator[Document]:
    """A job of items that sleep this long; it is cancelled and waited for afterwards."""
    job = submitted(api, "sleep_for", items, **options)
    try:
        yield job
    finally:
        api.post(job["links"]["cancel"])
        ended(api, job["id"])


def once(api: httpx.Client, job: Document, **counts: int) -> Document:
    """The job, once it has at least these counts."""
    known = '"none"'
    while True:
        headers = {"Prefer": "wait=10", "If-None-Match": known}
        response = api.get(job["links"]["self"], headers=headers)
        known = response.headers["etag"]
        if response.status_code == 200:
            now = document_of(response)
            if all(now["counts"][name] >= count for name, count in counts.items()):
                return now
            assert now["ended_at"] is None, now


def listed(api: httpx.Client, **query: object) -> list[str]:
    """The ids of the jobs listed."""
    answer = document_of(api.get("/v1/jobs", params=query).raise_for_status())  # type: ignore[arg-type]
    return [job["id"] for job in answer["jobs"]]


def test_a_finished_job_says_when_it_did_what(api: httpx.Client) -> None:
    """Times are RFC 3339 in UTC, in order; it expires after its retention; nothing is left to estimate."""
    job = ended(api, submitted(api, "sqrt", [1, -1], retention_seconds=3600)["id"])

    times = [
        datetime.fromisoformat(job[name]) for name in ("created_at", "started_at", "ended_at", "expires_at")
    ]
    assert times == sorted(times)
    assert all(job[name].endswith("Z") for name in ("created_at", "started_at", "ended_at", "expires_at"))
    assert (times[3] - times[2]).total_seconds() == 3600
    counts = {"total": 2, "queued": 0, "running": 0, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert job["counts"] == counts
    assert (job["progress"], job["queue_position"], job["eta_seconds"]) == (1.0, None, None)
    assert job["cancel_requested_at"] is None


def test_an_unfinished_job_says_when_to_ask_again(api: httpx.Client) -> None:
    """`Retry-After` is a whole number of seconds from 1 to 60 while there is something to wait for."""
    with a_live_job(api, [0.3]) as job:
        live = api.get(job["links"]["self"])
    finished = api.get(job["links"]["self"])

    assert 1 <= int(live.headers["retry-after"]) <= 60
    assert "retry-after" not in finished.headers


def test_prefer_wait_returns_as_soon_as_the_job_has_finished(api: httpx.Client) -> None:
    """The long poll ends with the job, and its answer carries the results in input order."""
    job = submitted(api, "sleep_for", [0.3, 0.1], chunksize=1)

    response = api.get(job["links"]["self"], headers={"Prefer": "wait=30"})

    assert response.elapsed.total_seconds() < 10
    assert response.headers["preference-applied"] == "wait=30"
    assert [result["output"] for result in response.json()["results"]] == [0.3, 0.1]


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async, wait=0", 'wait="0"; x=y', "WAIT = 0"])
def test_prefer_is_read_as_its_rfc_says(api: httpx.Client, prefer: str) -> None:
    """Several preferences, quotes, parameters, spaces and case (RFC 7240)."""
    with a_live_job(api, [0.3]) as job:
        response = api.get(job["links"]["self"], headers={"Prefer": prefer})

    assert response.headers["preference-applied"] == "wait=0"


@pytest.mark.parametrize("prefer", ["", "wait", "wait=soon", "wait=-1", "wait=1e3", ";;,,==", "handling=lax"])
def test_a_preference_that_cannot_be_understood_is_ignored(api: httpx.Client, prefer: str) -> None:
    """The answer comes at once, and claims to have honoured nothing."""
    with a_live_job(api, [0.3]) as job:
        response = api.get(job["links"]["self"], headers={"Prefer": prefer})

    assert response.status_code == 200
    assert "preference-applied" not in response.headers
    assert response.elapsed.total_seconds() < 5


@pytest.mark.parametrize("form", ["{0}", '"other", {0}', "*", "W/{0}"])
def test_an_unchanged_job_is_not_sent_again(api: httpx.Client, form: str) -> None:
    """A matching `If-None-Match` is answered 304 without a body, and with the same ETag."""
    job = ended(api, submitted(api, "sqrt", [1])["id"])
    etag = api.get(job["links"]["self"]).headers["etag"]

    known = form.format(etag.removeprefix("W/") if form.startswith("W/") else etag)
    response = api.get(job["links"]["self"], headers={"If-None-Match": known})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag


def test_a_changed_job_has_another_etag(api: httpx.Client) -> None:
    """What a client knows of a running job is not what there is to know at its end."""
    with a_live_job(api, [0.3]) as job:
        etag = api.get(job["links"]["self"]).headers["etag"]

    response = api.get(job["links"]["self"], headers={"If-None-Match": etag})

    assert response.status_code == 200
    assert response.json()["status"] == "cancelled"


def test_a_long_poll_with_an_etag_ends_at_the_first_change(api: httpx.Client) -> None:
    """`Prefer: wait` with `If-None-Match` returns once the job differs from what the client has."""
    with a_live_job(api, [0.3, 0.6], chunksize=1) as job:
        once(api, job, running=2)
        etag = api.get(job["links"]["self"]).headers["etag"]

        changed = api.get(job["links"]["self"], headers={"Prefer": "wait=30", "If-None-Match": etag})

    assert changed.status_code == 200
    assert changed.json()["counts"]["succeeded"] == 1
    assert changed.elapsed.total_seconds() < 10


def test_a_long_poll_with_an_etag_ends_with_304_if_nothing_changes(api: httpx.Client) -> None:
    """A job that only grows older is not a changed one."""
    with a_live_job(api, [1.5]) as job:
        once(api, job, running=1)
        etag = api.get(job["links"]["self"]).headers["etag"]

        response = api.get(job["links"]["self"], headers={"Prefer": "wait=1", "If-None-Match": etag})

    assert response.status_code == 304
    assert 0.9 < response.elapsed.total_seconds() < 5


def test_a_job_that_waits_says_how_many_are_before_it(api: httpx.Client) -> None:
    """`queue_position` counts the jobs that wait and came earlier."""
    with a_live_job(api, [0.6] * 2, chunksize=1), a_live_job(api, [0]) as first, a_live_job(api, [0]) as last:
        positions = [api.get(job["links"]["self"]).json()["queue_position"] for job in (first, last)]

    assert positions == [0, 1]


def test_jobs_are_listed_newest_first(api: httpx.Client) -> None:
    """A page has the jobs sent last, the last one first."""
    mine = [submitted(api, "sqrt", [])["id"] for _ in range(3)]

    assert listed(api, limit=3) == mine[::-1]


def test_pages_of_jobs_lead_to_the_oldest(api: httpx.Client) -> None:
    """Following `next_cursor`, or the `Link`, shows every job once, whatever is submitted meanwhile."""
    label = an_id()
    mine = [submitted(api, "sqrt", [], label=label)["id"] for _ in range(5)]

    first = api.get("/v1/jobs", params={"q": label, "limit": 2})
    submitted(api, "sqrt", [], label=label)
    second = api.get(first.links["next"]["url"])
    last = api.get("/v1/jobs", params={"q": label, "limit": 2, "cursor": second.json()["next_cursor"]})

    pages = [[job["id"] for job in page.json()["jobs"]] for page in (first, second, last)]
    assert pages == [mine[:2:-1], mine[2:0:-1], mine[:1]]
    assert last.json()["next_cursor"] is None
    assert "next" not in last.links


def test_a_cursor_outlives_its_job(api: httpx.Client) -> None:
    """The next page begins where the last one ended, though the job that it ended with is deleted."""
    label = an_id()
    mine = [submitted(api, "sqrt", [], label=label) for _ in range(4)]
    first = api.get("/v1/jobs", params={"q": label, "limit": 2})

    api.delete(mine[2]["links"]["self"]).raise_for_status()
    second = api.get(first.links["next"]["url"])

    pages = [[job["id"] for job in page.json()["jobs"]] for page in (first, second)]
    assert pages == [[mine[3]["id"], mine[2]["id"]], [mine[1]["id"], mine[0]["id"]]]


def test_jobs_can_be_searched(api: httpx.Client) -> None:
    """By task, by status, and by part of the id or the label, whatever its case; all at once."""
    label = an_id("Nightly")
    done = submitted(api, "sqrt", [], label=label)["id"]
    other = submitted(api, "echo", [], label=label)["id"]
    with a_live_job(api, [0.3], label=label) as live:
        assert listed(api, q=label[2:].upper()) == [live["id"], other, done]
        assert listed(api, q=label, task="sqrt") == [done]
        assert listed(api, q=label, status="completed") == [other, done]
        assert listed(api, q=label, status="completed", task="echo") == [other]
        assert listed(api, q=done[5:]) == [done]
        assert listed(api, q="%") == listed(api, q="no such job") == []


def test_cancelling_drops_what_waits_at_once(api: httpx.Client) -> None:
    """Nothing is queued any more, and running items end, however long they would have run."""
    job = submitted(api, "sleep_for", [3600] * 20, chunksize=1)
    once(api, job, running=2)

    response = api.post(job["links"]["cancel"])

    counts = response.json()["counts"]
    assert response.json()["cancelled"] == {"dropped": 18, "signalled": 2}
    assert (counts["queued"], counts["running"] + counts["cancelled"]) == (0, 20)
    endings = [(202, "cancelling")] if counts["running"] else [(202, "cancelling"), (200, "cancelled")]
    assert (response.status_code, response.json()["status"]) in endings  # they may have ended by now
    assert response.json()["cancel_requested_at"] is not None
    cancelled = ended(api, job["id"])
    assert (cancelled["status"], cancelled["counts"]["cancelled"]) == ("cancelled", 20)
    assert lines_of(api.get(job["links"]["results"]).content) == []


def test_cancelling_ends_an_item_that_hears_nothing(api: httpx.Client) -> None:
    """A task that holds the interpreter in one C call is ended with its process; the next job runs."""
    job = submitted(api, "hold_gil", [30])
    once(api, job, running=1)
    started = time.monotonic()

    api.post(job["links"]["cancel"])

    assert ended(api, job["id"])["counts"]["cancelled"] == 1
    assert time.monotonic() - started < GRACE_SECONDS + 2
    assert ended(api, submitted(api, "sqrt", [4])["id"])["counts"]["succeeded"] == 1


def test_cancelling_keeps_what_is_done(api: httpx.Client) -> None:
    """Results stay; what runs is asked to end, at once, and with what waits it counts as cancelled."""
    job = submitted(api, "sleep_for", [0, 0, 30, 30, 30], chunksize=1)
    once(api, job, succeeded=2, running=2)
    started = time.monotonic()

    receipt = api.post(job["links"]["cancel"]).json()["cancelled"]

    cancelled = ended(api, job["id"])
    assert receipt == {"dropped": 1, "signalled": 2}
    assert time.monotonic() - started < 1.5  # the grace, which is 2 s, was not needed
    assert (cancelled["counts"]["succeeded"], cancelled["counts"]["cancelled"]) == (2, 3)
    assert len(lines_of(api.get(job["links"]["results"]).content)) == 2


def test_a_job_that_never_started_is_cancelled_at_once(api: httpx.Client) -> None:
    """Nothing of it runs, so there is nothing to wait for."""
    with a_live_job(api, [0.8] * 2, chunksize=1), a_live_job(api, [30]) as job:
        started = time.monotonic()
        api.post(job["links"]["cancel"])
        cancelled = ended(api, job["id"])

        assert time.monotonic() - started < 0.5
        assert (cancelled["status"], cancelled["started_at"]) == ("cancelled", None)


def test_cancelling_twice_is_cancelling_once(api: httpx.Client) -> None:
    """A repeated cancel answers like the first, and 200 once the job has finished."""
    job = submitted(api, "sleep_for", [30])
    once(api, job, running=1)

    first, second = api.post(job["links"]["cancel"]), api.post(job["links"]["cancel"])
    ended(api, job["id"])
    late = api.post(job["links"]["cancel"])

    assert (first.status_code, late.status_code) == (202, 200)
    assert second.json()["cancel_requested_at"] == first.json()["cancel_requested_at"]
    assert late.json()["status"] == "cancelled"


def test_cancelling_a_completed_job_changes_nothing(api: httpx.Client) -> None:
    """Too late is not an error: 200, and the job as it was."""
    job = ended(api, submitted(api, "sqrt", [1])["id"])

    response = api.post(job["links"]["cancel"])

    assert response.status_code == 200
    assert response.json() == job | {"results": None, "cancelled": {"dropped": 0, "signalled": 0}}


def test_a_running_job_cannot_be_forgotten(api: httpx.Client) -> None:
    """DELETE is refused until the job has finished, saying so; then it is gone, and can be sent anew."""
    job_id = an_id()
    body = {"task": "sleep_for", "items": [30]}
    job = document_of(api.put(f"/v1/jobs/{job_id}", json=body))

    assert "cancel" in problem_of(api.delete(f"/v1/jobs/{job_id}"), 409)["detail"]
    api.post(job["links"]["cancel"])
    ended(api, job_id)
    deleted = api.delete(f"/v1/jobs/{job_id}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/results", "/results.jsonl", "/events"):
        problem_of(api.get(f"/v1/jobs/{job_id}{path}"), 404)
    problem_of(api.delete(f"/v1/jobs/{job_id}"), 404)
    assert job_id not in listed(api)
    again = api.put(f"/v1/jobs/{job_id}", json={"task": "sqrt", "items": [1]})
    assert again.status_code == 202
    assert ended(api, job_id)["task"] == "sqrt"


def test_too_many_failures_stop_a_job(api: httpx.Client) -> None:
    """More failures than `max_failures` end it as `failed`; what had not run is cancelled."""
    job = ended(api, submitted(api, "risky", [5] * 50, max_failures=3, chunksize=1)["id"])

    assert job["status"] == "failed"
    assert job["counts"]["failed"] >= 4
    assert job["error"]["type"] == "/problems/too-many-failures"
    assert job["counts"]["cancelled"] > 0


def test_a_job_that_takes_too_long_expires(api: httpx.Client) -> None:
    """After `job_timeout_seconds` it ends as `expired`, with the results it has."""
    job = ended(api, submitted(api, "sleep_for", [0, 0, 30], chunksize=1, job_timeout_seconds=0.5)["id"])

    assert job["status"] == "expired"
    assert (job["counts"]["succeeded"], job["counts"]["cancelled"]) == (2, 1)
