"""`explain` says why a real job waits, is slow or has ended, and the Job promises no end that nobody can know."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.integration.answers import Document, document_of, ended, problem_of, submitted
from tests.waiting import eventually


def explained(api: httpx.Client, job: Document) -> dict[str, str]:
    """Each reason's words, by its code."""
    answer = document_of(api.get(f"{job['links']['self']}/explain").raise_for_status())
    details = {reason["code"]: reason["detail"] for reason in answer["reasons"]}
    assert answer["summary"].startswith(answer["reasons"][0]["detail"])
    assert all(reason.keys() == {"code", "detail"} for reason in answer["reasons"])
    return details


@contextmanager
def a_live_job(
    api: httpx.Client, items: list[float], task: str = "sleep_for", **options: object
) -> Iterator[Document]:
    job = submitted(api, task, items, **options)
    try:
        yield job
    finally:
        api.post(job["links"]["cancel"])
        ended(api, job["id"])


def run_of(api: httpx.Client, job: Document) -> Document:
    return document_of(api.get(job["links"]["self"]))


def test_a_job_behind_others_says_so(api: httpx.Client) -> None:
    """How many come before it, what share it is due, and that it waits for a worker."""
    with (
        a_live_job(api, [20] * 2, chunksize=1) as busy,
        a_live_job(api, [0] * 5) as first,
        a_live_job(api, [0] * 5, priority="low") as last,
    ):
        eventually(lambda: run_of(api, busy)["counts"]["running"] == 2, 10, "the workers are taken")
        told = explained(api, last)
        assert "1 other job comes before it" in told["queued"]
        assert "gets 20 % of the workers" in told["sharing"]
        assert "no other job comes before it" in explained(api, first)["queued"]
        assert explained(api, busy).keys() == {"last_items"}


def test_a_job_that_holds_itself_back_says_so(api: httpx.Client) -> None:
    """`max_in_flight` is reached."""
    with a_live_job(api, [20] * 3, max_in_flight=1) as job:
        eventually(lambda: run_of(api, job)["counts"]["running"], 10, "it runs")

        assert "max_in_flight is 1" in explained(api, job)["max_in_flight"]


def test_a_paused_job_says_so_and_promises_no_end(api: httpx.Client) -> None:
    """Nobody can know when it will be done."""
    with a_live_job(api, [0.001] * 200_000, chunksize=20) as job:
        eventually(lambda: run_of(api, job)["eta_seconds"], 20, "it has a pace")
        paused = document_of(api.post(f"{job['links']['self']}/pause"))

        assert "resume it" in explained(api, job)["paused"]
        assert paused["eta_seconds"] is None


def test_the_end_is_further_off_as_soon_as_another_job_comes(api: httpx.Client) -> None:
    """With a fifth of the workers it takes longer, whatever pace was measured before."""
    with a_live_job(api, [0.001] * 200_000, chunksize=20) as job:
        eventually(lambda: run_of(api, job)["counts"]["succeeded"] > 3_000, 30, "its pace is well known")
        before = run_of(api, job)["eta_seconds"]
        with a_live_job(api, [0.05] * 20_000, priority="high"):
            after = run_of(api, job)["eta_seconds"]

    assert after > 2 * before


def test_items_that_were_ended_by_force_are_not_said_not_to_have_run(api: httpx.Client) -> None:
    """They ran, and nothing came of them; those behind them did not even run."""
    with a_live_job(api, [20] * 3, max_in_flight=1) as job:
        eventually(lambda: run_of(api, job)["counts"]["running"], 10, "it runs")
        api.post(f"{job['links']['cancel']}?force=1").raise_for_status()
        ended(api, job["id"])

        told = explained(api, job)["finished"]

    assert told == "It is cancelled: 0 of 3 items succeeded, 0 failed; 3 were left without a result."


def test_a_finished_job_says_how_it_ended(api: httpx.Client) -> None:
    """In words, with its counts."""
    job = ended(api, submitted(api, "risky", [5, 1])["id"])

    assert explained(api, job) == {"finished": "It is completed: 1 of 2 items succeeded, 1 failed."}
    problem_of(api.get("/v1/jobs/unknown/explain"), 404)


def test_an_item_that_runs_says_for_how_long(api: httpx.Client) -> None:
    """In the item's own detail, and among the workers."""
    with a_live_job(api, [20]) as job:
        place = f"{job['links']['self']}/items/0"
        # The pool looks at its workers now and then; by then it has seen this item begin.
        eventually(lambda: (document_of(api.get(place))["running_seconds"] or 0) > 0.5, 10, "it runs")
        item = document_of(api.get(place))
        workers = document_of(api.get("/v1/pool"))["pools"]["cpu"]["workers"]

        assert item["status"] == "running"
        (worker,) = [
            worker for worker in workers if worker["item"] == 0 and worker["id"] == item["worker"]["id"]
        ]
        assert worker["item_seconds"] >= item["running_seconds"]
