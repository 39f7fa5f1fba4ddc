"""Whoever has a job in flight is in control of it: pause, resume, other options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import serving
from tests.integration.answers import (
    Document,
    an_id,
    client,
    document_of,
    ended,
    problem_names,
    problem_of,
    ran,
    submitted,
)
from tests.integration.watching import watching
from tests.waiting import eventually

LONG = [0.01] * 1000
"""Of `sleep_for`: more than any test waits for."""


def once(api: httpx.Client, job: Document, seen: Callable[[Document], object]) -> Document:
    """The job, once it is as it should be."""

    def look() -> Document | None:
        now = document_of(api.get(job["links"]["self"]).raise_for_status())
        return now if seen(now) else None

    return eventually(look, 20, f"job {job['id']}")


def done(job: Document) -> int:
    return int(job["counts"]["succeeded"] + job["counts"]["failed"])


def told(api: httpx.Client, job: Document, what: str) -> Document:
    """The answer to POST `what`."""
    return document_of(api.post(f"{job['links']['self']}/{what}").raise_for_status())


def patched(api: httpx.Client, job: Document, **change: Any) -> Document:
    return document_of(api.patch(job["links"]["self"], json=change).raise_for_status())


def at_rest(api: httpx.Client, job: Document) -> Document:
    """The job, once none of its items is with a worker."""
    return once(api, job, lambda now: now["counts"]["running"] == 0)


# -- Pause and resume


def test_a_paused_job_starts_no_item_until_it_is_resumed(api: httpx.Client) -> None:
    """What runs goes on, what a worker had not begun comes back, and others run meanwhile."""
    job = submitted(api, "sleep_for", LONG, chunksize=500)
    once(api, job, done)

    paused = told(api, job, "pause")
    rested = at_rest(api, job)
    ran(api, "sqrt", [1] * 20)
    later = document_of(api.get(job["links"]["self"]))
    resumed = told(api, job, "resume")
    once(api, job, lambda now: done(now) > done(rested))

    assert (paused["status"], rested["status"], resumed["status"]) == ("paused", "paused", "running")
    assert later["counts"] == rested["counts"]
    assert rested["counts"]["queued"] > 0
    assert (told(api, job, "cancel"), ended(api, job["id"])["status"])[1] == "cancelled"


def test_pausing_and_resuming_twice_is_doing_it_once(api: httpx.Client) -> None:
    """The second time is answered as the first."""
    job = submitted(api, "sleep_for", LONG)

    assert [told(api, job, "pause")["status"] for _ in range(2)] == ["paused", "paused"]
    at_rest(api, job)
    assert [told(api, job, "resume")["status"] for _ in range(2)] == ["running", "running"]

    told(api, job, "cancel")
    ended(api, job["id"])


def test_a_paused_job_can_be_cancelled(api: httpx.Client) -> None:
    """What waited is dropped at once."""
    job = submitted(api, "sleep_for", LONG)
    told(api, job, "pause")
    rested = at_rest(api, job)

    told(api, job, "cancel")
    cancelled = ended(api, job["id"])

    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["cancelled"] == rested["counts"]["queued"]


def test_a_paused_job_completes_if_what_ran_was_the_rest(api: httpx.Client) -> None:
    """There is nothing left to be held back."""
    job = submitted(api, "sleep_for", [1.0])
    eventually(lambda: begun(api, 0), 10, "its only item to begin")

    assert told(api, job, "pause")["status"] == "paused"
    assert ended(api, job["id"])["status"] == "completed"


def test_the_time_of_a_paused_job_runs_on(api: httpx.Client) -> None:
    """It expires, keeping what is done."""
    job = submitted(api, "sleep_for", LONG, job_timeout_seconds=0.5)
    told(api, job, "pause")

    expired = ended(api, job["id"])

    assert expired["status"] == "expired"
    assert expired["error"]["type"] == "/problems/job-timeout"
    assert expired["counts"]["cancelled"] > 0


def test_a_job_is_paused_before_its_first_item_and_queued_after(tmp_path: Path) -> None:
    """Where it was is where it goes on; also after the service was killed."""
    with serving(tmp_path, processes="1") as server:
        with client(server) as api:
            blocker = submitted(api, "sleep_for", [60])
            job = submitted(api, "sqrt", [1, 4, 9])
            once(api, blocker, lambda now: now["counts"]["running"])
            told(api, job, "pause")
            server.kill()
        server.start()
        with client(server) as api:
            told(api, blocker, "cancel")
            ended(api, blocker["id"])
            ran(api, "sqrt", [1])
            kept = document_of(api.get(job["links"]["self"]))
            blocker = submitted(api, "sleep_for", [60])
            once(api, blocker, lambda now: now["counts"]["running"])
            resumed = told(api, job, "resume")
            told(api, blocker, "cancel")

            assert (kept["status"], kept["started_at"]) == ("paused", None)
            assert kept["counts"]["queued"] == 3
            assert resumed["status"] == "queued"
            assert ended(api, job["id"])["counts"]["succeeded"] == 3


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_finished_job_can_be_neither_paused_nor_resumed(api: httpx.Client, action: str) -> None:
    """409 says what it is; a job that never was is 404."""
    job = ended(api, submitted(api, "sqrt", [4])["id"])
    before = api.get(job["links"]["self"]).content

    assert "completed" in problem_of(api.post(f"{job['links']['self']}/{action}"), 409)["detail"]
    problem_of(api.post(f"/v1/jobs/{an_id()}/{action}"), 404)
    assert api.get(job["links"]["self"]).content == before


def test_a_job_that_is_being_cancelled_cannot_be_paused(api: httpx.Client) -> None:
    """It will not go on."""
    job = submitted(api, "hold_gil", [30])
    once(api, job, lambda now: now["counts"]["running"])
    told(api, job, "cancel")

    problem_of(api.post(f"{job['links']['self']}/pause"), 409)

    assert ended(api, job["id"])["status"] == "cancelled"


# -- Other options


def test_every_option_that_can_change_is_changed_and_kept(tmp_path: Path) -> None:
    """The answer shows it, and so does the job after the service was killed."""
    change = {
        "priority": "high",
        "item_timeout_seconds": 7.5,
        "job_timeout_seconds": 3600,
        "max_failures": "3%",
        "max_in_flight": 2,
        "metadata": {"run": "changed"},
    }
    with serving(tmp_path) as server:
        with client(server) as api:
            job = submitted(api, "sleep_for", [60] * 3, metadata={"run": "first", "more": 1}, chunksize=7)
            patched(api, job, **change)
            server.kill()
        server.start()
        with client(server) as api:
            kept = document_of(api.get(job["links"]["self"]))

            shown = kept["options"] | {"metadata": kept["metadata"]}
            assert {name: shown[name] for name in change} == change
            assert kept["options"]["chunksize"] == 7
            told(api, job, "cancel?force=1")


def test_what_is_not_named_stays_and_null_takes_a_limit_away(api: httpx.Client) -> None:
    """An empty change is none."""
    job = submitted(api, "sleep_for", LONG, max_failures=3, max_in_flight=5)
    told(api, job, "pause")

    assert patched(api, job)["options"] == job["options"]
    changed = patched(api, job, max_failures=None)

    assert changed["options"] == job["options"] | {"max_failures": None}
    told(api, job, "cancel")


def test_more_failures_than_now_allowed_end_the_job_at_once(api: httpx.Client) -> None:
    """Nothing has to fail first, and a paused job is judged too."""
    job = submitted(api, "sleep_for", [*["no number"] * 5, *LONG], chunksize=1)
    once(api, job, lambda now: now["counts"]["failed"] == 5)
    told(api, job, "pause")

    patched(api, job, max_failures=4)
    failed = ended(api, job["id"])

    assert failed["status"] == "failed"
    assert failed["error"]["type"] == "/problems/too-many-failures"
    assert failed["counts"]["failed"] == 5
    assert failed["counts"]["cancelled"] > 0


def test_a_time_limit_that_is_over_already_ends_the_job(api: httpx.Client) -> None:
    """It counts from the submission; and one that is taken away does not."""
    job = submitted(api, "sleep_for", LONG, job_timeout_seconds=3600)
    patched(api, job, job_timeout_seconds=0.001)
    spared = submitted(api, "sleep_for", [0.01] * 150, job_timeout_seconds=0.5)
    patched(api, spared, job_timeout_seconds=None)

    assert ended(api, job["id"])["status"] == "expired"
    assert ended(api, spared["id"])["status"] == "completed"


def begun(api: httpx.Client, index: int) -> int:
    """How many workers are at this item now, not only at its chunk."""
    workers = document_of(api.get("/v1/pool"))["pools"]["cpu"]["workers"]
    return sum(worker["task"] == "sleep_for" and worker["item"] == index for worker in workers)


def test_another_time_limit_is_that_of_the_items_that_start_from_now_on(api: httpx.Client) -> None:
    """Also of those that a worker had been sent and had not begun."""
    other = submitted(api, "sleep_for", [60])  # or what waits would begin at once, on the worker that is idle
    job = submitted(api, "sleep_for", [2, 60, 60], chunksize=3)
    eventually(lambda: begun(api, 0) == 2, 10, "the first items to begin")

    patched(api, job, item_timeout_seconds=0.2)
    counts = ended(api, job["id"])["counts"]
    told(api, other, "cancel")

    assert (counts["succeeded"], counts["failed"]) == (1, 2)


def test_fewer_items_in_flight_are_so_at_once(api: httpx.Client) -> None:
    """What a worker had not begun comes back."""
    job = submitted(api, "sleep_for", LONG, chunksize=500)
    once(api, job, lambda now: now["counts"]["running"] > 2)

    patched(api, job, max_in_flight=1)
    once(api, job, lambda now: now["counts"]["running"] <= 2)
    first = once(api, job, lambda now: now["counts"]["running"] <= 1)
    seen = [document_of(api.get(job["links"]["self"]))["counts"]["running"] for _ in range(20)]

    assert done(once(api, job, lambda now: done(now) > done(first))) < 500
    assert max(seen) <= 1
    told(api, job, "cancel")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"chunksize": 3}, "/chunksize"),
        ({"priority": "urgent"}, "/priority"),
        ({"priority": None}, "/priority"),
        ({"item_timeout_seconds": 0}, "/item_timeout_seconds"),
        ({"job_timeout_seconds": "1"}, "/job_timeout_seconds"),
        ({"max_failures": "many"}, "/max_failures"),
        ({"max_in_flight": 0}, "/max_in_flight"),
        ({"metadata": [1]}, "/metadata"),
    ],
)
def test_a_wrong_change_is_named_and_changes_nothing(api: httpx.Client, change: Document, place: str) -> None:
    """With a pointer to each member that is unknown or wrong."""
    job = submitted(api, "sleep_for", LONG)
    told(api, job, "pause")

    problem = problem_of(api.patch(job["links"]["self"], json={"max_failures": 9} | change), 422)

    assert problem_names(problem) == {place}
    assert document_of(api.get(job["links"]["self"]))["options"] == job["options"]
    told(api, job, "cancel")


def test_what_is_no_change_is_refused(api: httpx.Client) -> None:
    """A finished job's, what is not JSON, not an object, too large, or sent as something else."""
    job = ended(api, submitted(api, "sqrt", [4])["id"])
    place = job["links"]["self"]
    json = {"Content-Type": "application/json"}

    assert "completed" in problem_of(api.patch(place, json={"priority": "low"}), 409)["detail"]
    problem_of(api.patch(f"/v1/jobs/{an_id()}", json={"priority": "low"}), 404)
    problem_of(api.patch(place, content=b"{", headers=json), 400)
    problem_of(api.patch(place, content=b"[]", headers=json), 400)
    problem_of(api.patch(place, json={"metadata": {"x": "x" * 70_000}}), 413)
    problem_of(api.patch(place, content=b"a=1", headers={"Content-Type": "text/plain"}), 415)


# -- By force


def test_a_forced_cancellation_ends_running_items_at_once(api: httpx.Client) -> None:
    """Also those that hear nothing; the receipt tells how many, and the pool is whole again."""
    job = submitted(api, "hold_gil", [60, 60, 60], chunksize=1)
    once(api, job, lambda now: now["counts"]["running"] == 2)

    receipt = told(api, job, "cancel?force=1")["cancelled"]

    assert receipt == {"dropped": 1, "signalled": 2}
    assert ended(api, job["id"])["counts"]["cancelled"] == 3
    assert ran(api, "sqrt", [4])[0]["output"] == 2.0


def test_a_forced_cancellation_asks_no_item(tmp_path: Path) -> None:
    """One that would end well when it is asked to end has no result."""
    with watching(tmp_path, processes="1") as watched:
        item = {"x": 0, "path": str(tmp_path / "began"), "seconds": 60, "stubborn": True}
        job = watched.job(watched.submit("nap_noted", [item]))
        eventually((tmp_path / "began").exists, 20, "the item runs")

        told(watched.api, job, "cancel?force=1")

        assert watched.ended(job["id"], "cancelled")["counts"]["cancelled"] == 1


def test_force_may_follow_on_a_kind_cancellation(api: httpx.Client) -> None:
    """Who has waited long enough asks again."""
    job = submitted(api, "hold_gil", [60])
    once(api, job, lambda now: now["counts"]["running"])

    assert told(api, job, "cancel")["cancelled"] == {"dropped": 0, "signalled": 1}
    assert told(api, job, "cancel?force=1")["cancelled"]["dropped"] == 0
    assert ended(api, job["id"])["status"] == "cancelled"
    assert told(api, job, "cancel?force=1")["cancelled"] == {"dropped": 0, "signalled": 0}


def test_force_harms_no_coroutine_beside(tmp_path: Path) -> None:
    """Those of another job in the same worker go on, and those that are meant end kindly."""
    with watching(tmp_path, processes="1") as watched:
        other = watched.submit("nap_or_die", [0.5, 0.6])
        job = watched.submit("nap", [60, 60])
        both = [watched.job(job_id) for job_id in (other, job)]
        for entry in both:
            once(watched.api, entry, lambda now: now["counts"]["running"] == 2)

        told(watched.api, both[1], "cancel?force=1")

        assert watched.ended(job, "cancelled")["counts"]["cancelled"] == 2
        assert [line.get("attempts", 1) for line in watched.results(other)] == [1, 1]
        assert watched.api.get("/v1/pool").json()["pools"]["cpu"]["restarts"] == 0


# -- Pools


def test_a_paused_pool_starts_no_item_and_its_jobs_say_so(api: httpx.Client) -> None:
    """What runs goes on; other pools too; resumed, all goes on."""
    job = submitted(api, "sleep_for", LONG, chunksize=500)
    once(api, job, done)
    try:
        shown = document_of(api.patch("/v1/pool/cpu", json={"paused": True}).raise_for_status())
        rested = at_rest(api, job)
        waiting = submitted(api, "sqrt", [4])
    finally:
        resumed = document_of(api.patch("/v1/pool/cpu", json={"paused": False}))

    assert (shown["pools"]["cpu"]["paused"], resumed["pools"]["cpu"]["paused"]) == (True, False)
    assert (rested["status"], rested["error"]["type"]) == ("running", "/problems/pool-paused")
    assert (waiting["status"], waiting["error"]["type"]) == ("queued", "/problems/pool-paused")
    assert ended(api, waiting["id"])["error"] is None
    told(api, job, "cancel?force=1")


@pytest.mark.parametrize(
    ("change", "place"),
    [({"paused": "yes"}, "/paused"), ({"processes": None}, "/processes"), ({"stopped": True}, "/stopped")],
)
def test_a_wrong_change_of_a_pool_is_named(api: httpx.Client, change: Document, place: str) -> None:
    """And an unknown pool is 404."""
    problem = problem_of(api.patch("/v1/pool/cpu", json=change), 422)

    assert problem_names(problem) == {place}
    problem_of(api.patch("/v1/pool/gpu", json={"paused": True}), 404)
