"""What every store promises of what is over: it goes, it is remembered for a while, and nothing else goes with it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.errors import Conflict
from app.domain.item import View
from app.domain.job import Counts, Job, Status
from app.domain.store import JobStore, Query, StoredFile, Tombstone
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run

DAY = timedelta(days=1)
MANY_ROWS = 2_500
"""More than a step of a sweep takes."""


def expired(job_id: str, days: float = 1, **members: Any) -> Job:
    """A finished job that expires so many days after noon."""
    job = a_job(job_id, status=Status.COMPLETED, counts=Counts(3, succeeded=3))
    return replace(job, ended_at=NOON, expires_at=NOON + days * DAY, **members)


def ids(run: Run, store: JobStore) -> Sequence[str]:
    return [job.id for job in run(store.list_jobs(Query(99)))]


def test_jobs_expire_at_their_time_soonest_first(store: JobStore, run: Run) -> None:
    """Never one that has not finished; at most as many as asked for; each leaves a tombstone."""
    for job in (
        expired("c", 3),
        expired("a", 1, fingerprint="aa"),
        expired("b", 2),
        expired("later", 9),
        a_job("j"),
    ):
        run(store.create_job(job, [a_block()]))

    assert run(store.expire_jobs(NOON + DAY - timedelta(microseconds=1), 9)) == []
    assert run(store.expire_jobs(NOON + 3 * DAY, 2)) == ["a", "b"]
    assert run(store.expire_jobs(NOON + 3 * DAY, 2)) == ["c"]
    assert run(store.expire_jobs(NOON + 3 * DAY, 2)) == []

    assert ids(run, store) == ["j", "later"]
    assert run(store.tombstone("a")) == Tombstone("a", "aa", NOON + 3 * DAY)
    assert run(store.tombstone("later")) is None
    assert run(store.get_job("a")) is None


def test_an_expired_job_takes_everything_with_it(store: JobStore, run: Run) -> None:
    """At once for whoever asks, however long the sweep takes; other jobs keep theirs."""
    for job_id in ("j", "other"):
        run(store.create_job(a_job(job_id), [a_block()], f"key-{job_id}", ["in"]))
        segment = Log(job_id).segment(0, [True, False, False])
        run(store.append_results([segment], [expired(job_id, 1 if job_id == "j" else 5)], {job_id: ["out"]}))
    run(store.expire_jobs(NOON + DAY, 9))

    for _ in range(2):
        assert run(store.read_block("j", 0)) is None
        assert run(store.done_ranges("j")) == []
        assert run(store.read_results("j", View(), 0, lines_max=9, bytes_max=999, settled=True)).count == 0
        assert run(store.read_block("other", 0)) == a_block()
        assert run(store.done_ranges("other")) == [(0, 3)]
        assert run(store.forget_files(["in", "out"])) == []
        while run(store.sweep(1)):
            pass
    assert run(store.replay("key-j")) is not None


def test_a_new_job_under_the_id_of_an_expired_one_starts_with_nothing(store: JobStore, run: Run) -> None:
    """The tombstone goes, and a sweep that comes late takes nothing of the new one."""
    run(store.create_job(expired("j"), [a_block()]))
    run(store.append_results([Log().segment(0, [False] * 3)], [expired("j")], {"j": ["file"]}))
    run(store.expire_jobs(NOON + DAY, 9))
    run(store.create_job(a_job(total=1), [a_block(0, 1)]))
    assert run(store.tombstone("j")) is None
    assert run(store.done_ranges("j")) == []

    while run(store.sweep(1)):
        pass

    assert run(store.read_block("j", 0)) == a_block(0, 1)
    assert run(store.forget_files(["file"])) == ["file"]


def test_a_deleted_tombstone_is_forgotten(store: JobStore, run: Run) -> None:
    """To delete an expired job's id is to forget it altogether."""
    run(store.create_job(expired("j"), [a_block()]))
    run(store.expire_jobs(NOON + DAY, 9))

    run(store.delete_job("j"))

    assert run(store.tombstone("j")) is None


def test_tombstones_and_keys_are_dropped_by_age(store: JobStore, run: Run) -> None:
    """The oldest first, at most as many as asked for; what is not older stays."""
    for day, job_id in enumerate("abc"):
        job = expired(job_id, day, created_at=NOON + day * DAY)
        run(store.create_job(job, [a_block()], f"key-{job_id}"))
        run(store.expire_jobs(NOON + day * DAY, 9))

    def forget(tombstones: int, keys: int) -> int:
        return run(
            store.forget(tombstones_before=NOON + tombstones * DAY, keys_before=NOON + keys * DAY, rows_max=1)
        )

    assert [forget(0, 0), forget(1, 2), forget(1, 2), forget(1, 2)] == [0, 2, 1, 0]
    assert [run(store.tombstone(job_id)) is not None for job_id in "abc"] == [False, True, True]
    assert [run(store.replay(f"key-{job_id}")) is not None for job_id in "abc"] == [False, False, True]


def test_a_key_that_was_dropped_can_be_used_again(store: JobStore, run: Run) -> None:
    """For another job."""
    run(store.create_job(a_job("a"), [a_block()], "key"))
    run(store.forget(tombstones_before=NOON, keys_before=NOON + DAY, rows_max=9))

    run(store.create_job(a_job("b"), [a_block()], "key"))

    replay = run(store.replay("key"))
    assert replay is not None
    assert replay.job_id == "b"


@pytest.mark.parametrize("uploaded", [False, True])
def test_a_file_that_items_name_stays(store: JobStore, run: Run, uploaded: bool) -> None:
    """From the submission's first block on, until the job goes; also if its upload never becomes a job."""
    file = StoredFile("file", 3, None, "image/jpeg", NOON)
    run(store.add_file(file))
    if uploaded:
        run(store.begin_upload("up"))
        run(store.add_blocks("up", [a_block()], ["file", "file"]))
        assert run(store.forget_files(["file"])) == []
        run(store.commit_upload("up", a_job()))
    else:
        run(store.create_job(a_job(), [a_block()], None, ["file"]))

    assert run(store.forget_files(["file", "unknown"])) == ["unknown"]
    with pytest.raises(Conflict):
        run(store.delete_file("file"))
    assert run(store.get_file("file")) == file
    run(store.delete_job("j"))
    assert run(store.forget_files(["file"])) == ["file"]
    assert run(store.get_file("file")) is None


def test_a_file_of_a_broken_upload_is_free(store: JobStore, run: Run) -> None:
    """Once the upload is discarded nobody names it."""
    run(store.begin_upload("up"))
    run(store.add_blocks("up", [a_block()], ["file"]))

    run(store.discard_upload("up"))

    assert run(store.forget_files(["file"])) == ["file"]


def test_sweeping_comes_to_an_end(store: JobStore, run: Run) -> None:
    """However much there is, in steps of any size."""
    log = Log("big")
    run(store.create_job(expired("big", counts=Counts(0)), [a_block(n, 1) for n in range(MANY_ROWS)]))
    run(store.append_results([log.segment(n, [False]) for n in range(MANY_ROWS)], [], {}))
    run(store.expire_jobs(NOON + DAY, 9))

    steps = 0
    while run(store.sweep(1 << 20)):
        steps += 1
        assert steps < 50
