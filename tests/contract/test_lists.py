"""Lists of jobs: in order, filtered, page by page; the same from each store."""

from datetime import timedelta

import pytest

from app.domain.job import Status
from app.domain.store import JobStore, Position, Query
from tests.builders import NOON, a_block, a_job
from tests.contract.conftest import Run


def at(job_id: str) -> Position:
    return Position(job_id, NOON)


@pytest.fixture
def five_jobs(store: JobStore, run: Run) -> JobStore:
    """Ids that say nothing of their order."""
    for job in (
        a_job("m", label="Nightly thumbnails", status=Status.COMPLETED),
        a_job("z", task="echo", status=Status.RUNNING),
        a_job("a", label="100% of_it", status=Status.FAILED),
        a_job("night-4", task="echo", status=Status.COMPLETED),
        a_job("b", status=Status.CANCELLING),
    ):
        run(store.create_job(job, [a_block()]))
    return store


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (Query(10), "b night-4 a z m"),
        (Query(2), "b night-4"),
        (Query(2, cursor=at("night-4")), "a z"),
        (Query(2, cursor=at("m")), ""),
        (Query(10, status=Status.COMPLETED), "night-4 m"),
        (Query(10, status=Status.EXPIRED), ""),
        (Query(10, task="echo"), "night-4 z"),
        (Query(10, text="night"), "night-4 m"),
        (Query(10, text="NIGHTLY"), "m"),
        (Query(10, text="0%"), "a"),
        (Query(10, text="f_i"), "a"),
        (Query(10, text="%"), "a"),
        (Query(10, text="nothing"), ""),
        (Query(10, task="echo", status=Status.COMPLETED, text="4"), "night-4"),
        (Query(1, status=Status.COMPLETED, cursor=at("night-4")), "m"),
    ],
)
def test_lists_are_newest_first_and_filtered(five_jobs: JobStore, run: Run, query: Query, ids: str) -> None:
    """Filters combine, no letter of a text is special, and a cursor goes on after its job."""
    assert [job.id for job in run(five_jobs.list_jobs(query))] == ids.split()


def test_pages_of_a_list_miss_and_repeat_nothing(five_jobs: JobStore, run: Run) -> None:
    """Also when a job comes in between."""
    first = run(five_jobs.list_jobs(Query(3)))
    run(five_jobs.create_job(a_job("new"), [a_block()]))
    second = run(five_jobs.list_jobs(Query(3, cursor=at(first[-1].id))))

    assert [job.id for job in first + second] == ["b", "night-4", "a", "z", "m"]


def test_a_page_goes_on_where_its_job_was(store: JobStore, run: Run) -> None:
    """The job before it may be deleted meanwhile, or its id taken by a new one."""
    times = {name: NOON + timedelta(microseconds=number) for number, name in enumerate("abcde")}
    for name, time in times.items():
        run(store.create_job(a_job(name, created_at=time, status=Status.COMPLETED), [a_block()]))

    first = run(store.list_jobs(Query(2)))
    cursor = Position(first[-1].id, first[-1].created_at)
    run(store.delete_job("d"))
    gone = run(store.list_jobs(Query(2, cursor=cursor)))
    run(store.create_job(a_job("d", created_at=NOON + timedelta(seconds=1)), [a_block()]))
    taken = run(store.list_jobs(Query(9, cursor=cursor)))

    assert [job.id for job in first] == ["e", "d"]
    assert [job.id for job in gone] == ["c", "b"]
    assert [job.id for job in taken] == ["c", "b", "a"]
    assert run(store.list_jobs(Query(9, cursor=Position("z", NOON - timedelta(1))))) == []


def test_jobs_are_counted_by_status(five_jobs: JobStore, run: Run) -> None:
    """A status without jobs counts none."""
    counts = run(five_jobs.count_jobs())

    assert {status: counts.get(status, 0) for status in Status} == {
        Status.QUEUED: 0, Status.RUNNING: 1, Status.PAUSED: 0, Status.CANCELLING: 1,
        Status.COMPLETED: 2, Status.FAILED: 1, Status.CANCELLED: 0, Status.EXPIRED: 0,
    }  # fmt: skip


def test_unfinished_jobs_are_oldest_first(five_jobs: JobStore, run: Run) -> None:
    """So a restart takes them up in the order they came."""
    run(five_jobs.create_job(a_job("0"), [a_block()]))

    assert [job.id for job in run(five_jobs.unfinished_jobs())] == ["z", "b", "0"]
