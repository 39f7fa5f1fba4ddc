"""Why a job fares as it does: each situation has its code, and the words that name the figures."""

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.explanation import CODES, Situation, reasons
from app.domain.job import Counts, Options, Status
from tests.builders import NOON, a_job


@dataclass(frozen=True, slots=True)
class AWorker:
    id: int = 3
    pid: int | None = 40
    state: str = "busy"
    task: str | None = "sqrt"
    item: int | None = 17
    chunk_id: int | None = 5
    item_seconds: float | None = 12.0
    items_done: int = 0


def at(status: Status = Status.RUNNING, *, total: int = 10, running: int = 2, **members: Any) -> Situation:
    """A job of ten items, two of which run and none of which is done."""
    job = members.pop("job", a_job(total=total, status=status))
    return Situation(job, Counts(total, running=running), **members)


SITUATIONS = {
    "stopping": (at(stopping=True), "The service is stopping"),
    "storage": (at(trouble="The disk is full."), "The disk is full."),
    "task_not_loaded": (at(Status.QUEUED, running=0, held=True), "No task is called 'sqrt' here now"),
    "pool_paused": (at(pool_paused=True), "Pool 'cpu' is paused"),
    "cancelling": (at(Status.CANCELLING), "2 items are being ended"),
    "paused": (at(Status.PAUSED, running=1), "resume it for 9 items to start; 1 item is with workers"),
    "reading": (at(reading=True), "read from disk"),
    "waiting_for_items": (
        at(total=0, running=0, job=a_job(total=0, sealed=False, status=Status.RUNNING)),
        "seal it",
    ),
    "max_in_flight": (
        at(job=a_job(total=10, status=Status.RUNNING, options=Options(max_in_flight=2))),
        "its max_in_flight is 2",
    ),
    "max_concurrency": (at(limit="max_concurrency"), "'sqrt'"),
    "rate_limit": (at(limit="rate_limit"), "rate_limit"),
    "memory": (at(memory_short=True), "Memory is short"),
    "no_workers": (at(workers=0, pool="io"), "pool 'io'"),
    "retries": (at(postponed=1), "1 item that failed waits"),
    "queued": (at(Status.QUEUED, running=0, ahead=1), "1 other job comes before it"),
    "slow_item": (at(longest=(AWorker(), 12.3)), "Item 17 has been running for 12 s on worker 3"),
    "last_items": (at(running=10), "the last 10 items are with workers"),
    "sharing": (
        at(ahead=0, sharers=2, share=1 / 3),
        "gets 33 % of the workers of pool 'cpu', beside 2 other jobs",
    ),
    "backlog": (at(backlog=True), "faster than the disk"),
    "running": (at(ahead=0), "2 items are with workers, and nothing holds it up"),
    "finished": (
        Situation(
            a_job(
                status=Status.CANCELLED, counts=(c := Counts(4001, succeeded=1000, failed=3000, cancelled=1))
            ),
            c,
        ),
        "It is cancelled: 1,000 of 4,001 items succeeded, 3,000 failed; 1 was left without a result.",
    ),
}


@pytest.mark.parametrize("code", SITUATIONS)
def test_each_situation_has_its_code(code: str) -> None:
    """It comes first, with the figures that belong to it."""
    situation, told = SITUATIONS[code]

    first = reasons(situation)[0]

    assert first.code == code
    assert told in first.detail


def test_there_is_a_situation_for_every_code() -> None:
    """What can be said is listed, and the other way round."""
    assert SITUATIONS.keys() == CODES.keys()


def test_a_finished_job_says_what_ended_it() -> None:
    """Its error is part of it, and nothing of how it would fare otherwise."""
    job = replace(
        a_job(status=Status.EXPIRED), error={"detail": "The job was not done in time."}, ended_at=NOON
    )

    (only,) = reasons(Situation(job, job.counts, trouble="The disk is full.", stopping=True))

    assert only.code == "finished"
    assert only.detail.endswith("The job was not done in time.")


def test_what_keeps_it_from_starting_comes_before_what_slows_it() -> None:
    """Several reasons stand in the order of what matters most."""
    job = a_job(total=10, status=Status.RUNNING, options=Options(max_in_flight=2))
    now = at(job=job, trouble="The disk is full.", ahead=1, sharers=1, share=0.5, backlog=True)

    assert [reason.code for reason in reasons(now)] == ["storage", "max_in_flight", "sharing", "backlog"]


def test_a_paused_job_is_not_told_to_wait_for_a_worker() -> None:
    """What would hold it up otherwise does not matter."""
    now = at(Status.PAUSED, running=0, limit="rate_limit", memory_short=True)

    assert [reason.code for reason in reasons(now)] == ["paused"]
