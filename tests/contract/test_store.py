"""What every store promises of jobs, their items and files; of their results, see `test_result_log`."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.errors import Conflict
from app.domain.item import Block
from app.domain.job import Counts, Job, Options, Status
from app.domain.store import JobStore, Query, Replay, StoredFile
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run

FULL_JOB = a_job(
    "full",
    total=7,
    task="resize_image",
    status=Status.RUNNING,
    counts=Counts(7, succeeded=2, failed=1, cancelled=3),
    options=Options(
        chunksize=5,
        priority="high",
        max_attempts=3,
        item_timeout_seconds=1.5,
        job_timeout_seconds=60.0,
        max_failures="3%",
        max_in_flight=4,
        retention_seconds=99.5,
        key_field="näme",
    ),
    params={"width": 800, "of": [1, {"a": None}]},
    sealed=False,
    label="nächtlich 🌙",
    metadata={"run": "nightly", "deep": {"list": [1.5, True]}},
    submitted_by="etl",
    retry_of="earlier",
    error={"type": "/problems/unknown-task", "title": "Unknown task"},
    started_at=NOON + timedelta(microseconds=1),
    ended_at=NOON + timedelta(seconds=1),
    cancel_requested_at=NOON + timedelta(seconds=2),
    expires_at=NOON + timedelta(days=7),
    fingerprint="5f" * 32,
)


@pytest.mark.parametrize("job", [FULL_JOB, a_job(), a_job(total=0, status=Status.COMPLETED)])
def test_a_job_comes_back_as_it_was(store: JobStore, run: Run, job: Job) -> None:
    """Every member, whatever it holds, to the microsecond."""
    run(store.create_job(job, [a_block(0, 7)]))

    assert run(store.get_job(job.id)) == job


def test_what_runs_is_not_stored(store: JobStore, run: Run) -> None:
    """After a restart nothing runs: running items are read back as queued."""
    run(store.create_job(a_job(counts=Counts(3, running=2, succeeded=1)), [a_block()]))

    job = run(store.get_job("j"))

    assert job is not None
    assert job.counts == Counts(3, succeeded=1)


def test_a_job_that_never_was_is_none(store: JobStore, run: Run) -> None:
    """So are its items and results; none of the questions fails."""
    assert run(store.get_job("j")) is None
    assert run(store.read_block("j", 0)) is None
    assert run(store.done_ranges("j")) == []
    assert run(store.replay("key")) is None
    assert run(store.get_file("file")) is None


def test_an_id_is_given_once(store: JobStore, run: Run) -> None:
    """Conflict, and the first job stays as it was."""
    run(store.create_job(a_job(), [a_block()]))

    with pytest.raises(Conflict):
        run(store.create_job(a_job(total=1, task="other"), [a_block(0, 1)], "key"))

    assert run(store.get_job("j")) == a_job()
    assert run(store.read_block("j", 0)) == a_block()
    assert run(store.replay("key")) is None


def test_an_idempotency_key_is_used_once(store: JobStore, run: Run) -> None:
    """Conflict, and nothing of the second job is there."""
    run(store.create_job(a_job("first", fingerprint="aa"), [a_block()], "key"))

    with pytest.raises(Conflict):
        run(store.create_job(a_job("second", fingerprint="bb"), [a_block()], "key"))

    assert run(store.replay("key")) == Replay("first", "aa")
    assert run(store.replay("other")) is None
    assert run(store.get_job("second")) is None
    assert run(store.read_block("second", 0)) is None


def test_of_many_at_once_one_gets_the_id(store: JobStore, run: Run) -> None:
    """Calls that overlap are still one after the other."""

    async def race() -> list[BaseException | None]:
        calls = (store.create_job(a_job(task=f"t{number}"), [a_block()]) for number in range(20))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = run(race())

    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
    assert run(store.count_jobs()) == {Status.QUEUED: 1}


# -- Uploads


def test_an_upload_is_invisible_until_it_is_committed(store: JobStore, run: Run) -> None:
    """Then its items are the job's, blocks as they were sent."""
    run(store.begin_upload("up"))
    run(store.add_blocks("up", [a_block(0, 2), a_block(2, 2)]))
    run(store.add_blocks("up", [a_block(4, 1)]))
    assert run(store.list_jobs(Query(10))) == []
    assert run(store.read_block("up", 0)) is None

    run(store.commit_upload("up", a_job(total=5, fingerprint="ff"), "key"))

    assert run(store.get_job("j")) == a_job(total=5, fingerprint="ff")
    assert [run(store.read_block("j", index)) for index in (0, 3, 4, 5)] == [
        a_block(0, 2), a_block(2, 2), a_block(4, 1), None
    ]  # fmt: skip
    assert run(store.replay("key")) == Replay("j", "ff")


def test_an_upload_survives_a_conflict(store: JobStore, run: Run) -> None:
    """It can be committed under another id, with all it holds."""
    run(store.create_job(a_job("taken"), [a_block()], "key"))
    run(store.begin_upload("up"))
    run(store.add_blocks("up", [a_block(0, 1)]))

    with pytest.raises(Conflict):
        run(store.commit_upload("up", a_job("taken", total=1)))
    with pytest.raises(Conflict):
        run(store.commit_upload("up", a_job("free", total=1), "key"))
    assert run(store.get_job("free")) is None
    run(store.commit_upload("up", a_job("free", total=1)))

    assert run(store.read_block("free", 0)) == a_block(0, 1)
    assert run(store.read_block("taken", 0)) == a_block()


def test_a_discarded_upload_is_gone(store: JobStore, run: Run) -> None:
    """To discard it again, or one that became a job, is harmless."""
    run(store.begin_upload("up"))
    run(store.add_blocks("up", [a_block()]))
    run(store.discard_upload("up"))
    run(store.discard_upload("up"))
    run(store.begin_upload("up"))
    run(store.commit_upload("up", a_job(total=0)))
    run(store.discard_upload("up"))

    assert run(store.get_job("j")) == a_job(total=0)
    assert run(store.read_block("j", 0)) is None


def test_discarding_an_upload_that_became_a_job_takes_nothing(store: JobStore, run: Run) -> None:
    """A clean-up that comes late leaves the job its items."""
    run(store.begin_upload("up"))
    run(store.add_blocks("up", [a_block()]))
    run(store.commit_upload("up", a_job()))

    run(store.discard_upload("up"))

    assert run(store.read_block("j", 0)) == a_block()


def test_uploads_do_not_mix(store: JobStore, run: Run) -> None:
    """Two at a time keep their own items."""
    for name in ("a", "b"):
        run(store.begin_upload(name))
    run(store.add_blocks("a", [a_block(0, 1)]))
    run(store.add_blocks("b", [a_block(0, 2)]))
    run(store.add_blocks("a", [a_block(1, 1)]))
    run(store.discard_upload("b"))
    run(store.commit_upload("a", a_job(total=2)))

    assert [run(store.read_block("j", index)) for index in range(3)] == [a_block(0, 1), a_block(1, 1), None]


# -- Items


def test_a_block_is_found_by_any_of_its_items(store: JobStore, run: Run) -> None:
    """Blocks may come in any order; outside of them there is None."""
    blocks = [a_block(5, 3), a_block(0, 5), Block(8, 1, b'"\xc3\xa9\\n"\n')]
    run(store.create_job(a_job(total=9), blocks))

    found = [run(store.read_block("j", index)) for index in range(-1, 10)]

    assert found == [None, *[blocks[1]] * 5, *[blocks[0]] * 3, blocks[2], None]


def test_blocks_are_read_together(store: JobStore, run: Run) -> None:
    """From the one with the item on, in order and within the limit; the first whatever it takes."""
    one, other, last = blocks = [a_block(0, 5), a_block(5, 3), a_block(8, 1)]
    run(store.create_job(a_job(total=9), [other, one, last]))
    size = sum(len(block.lines) for block in blocks)

    def read(job_id: str, index: int, bytes_max: int) -> list[Block]:
        return run(store.read_blocks(job_id, index, bytes_max=bytes_max))

    assert read("j", 0, size) == blocks
    assert read("j", 4, size - 1) == [one, other]
    assert read("j", 6, 0) == [other]
    assert read("j", 8, size) == [last]
    assert read("j", 9, size) == read("none", 0, size) == []


# -- Changes


def test_a_saved_job_is_as_it_was_saved(store: JobStore, run: Run) -> None:
    """Its items, its results and its place in lists stay."""
    born = {name: getattr(FULL_JOB, name) for name in ("task", "submitted_by", "retry_of", "fingerprint")}
    run(store.create_job(a_job("full", total=7, **born), [a_block()], "key"))
    run(store.create_job(a_job("later"), [a_block()]))
    run(store.append_results([Log("full").segment(0, [False])], [], {}))

    run(store.save_job(FULL_JOB))

    assert run(store.get_job("full")) == FULL_JOB
    assert run(store.read_block("full", 0)) == a_block()
    assert run(store.done_ranges("full")) == [(0, 1)]
    assert [job.id for job in run(store.list_jobs(Query(10)))] == ["later", "full"]
    assert run(store.get_job("later")) == a_job("later")


def test_items_are_added_to_an_open_job(store: JobStore, run: Run) -> None:
    """Behind those it has; its total is that of its items, whatever is saved meanwhile."""
    run(store.create_job(a_job(sealed=False), [a_block()]))

    run(store.append_items("j", [a_block(3, 2), a_block(5, 1)], ["f"]))
    run(store.save_job(a_job(sealed=False, status=Status.RUNNING)))

    job = run(store.get_job("j"))
    assert job is not None
    assert (job.counts.total, job.status) == (6, Status.RUNNING)
    assert [run(store.read_block("j", index)) for index in (2, 4, 5)] == [
        a_block(),
        a_block(3, 2),
        a_block(5, 1),
    ]
    assert run(store.forget_files(["f"])) == []


@pytest.mark.parametrize(
    ("members", "first"),
    [
        ({"sealed": True}, 3),
        ({"sealed": False}, 2),
        ({"sealed": False}, 4),
        ({"sealed": False, "status": Status.EXPIRED, "ended_at": NOON, "expires_at": NOON}, 3),
    ],
)
def test_a_job_takes_only_items_that_follow_while_it_is_open(
    store: JobStore, run: Run, members: dict[str, Any], first: int
) -> None:
    """Conflict else, also where there is no job, and nothing changes."""
    job = a_job(**members)
    run(store.create_job(job, [a_block()]))

    for job_id in ("j", "none"):
        with pytest.raises(Conflict):
            run(store.append_items(job_id, [a_block(first, 1)], ["f"]))

    assert run(store.get_job("j")) == job
    assert run(store.read_block("j", 3)) is None
    assert run(store.forget_files(["f"])) == ["f"]


def test_saving_a_job_that_is_gone_does_not_bring_it_back(store: JobStore, run: Run) -> None:
    """A late word about a deleted job is no new job."""
    run(store.create_job(a_job(), [a_block()]))
    run(store.delete_job("j"))

    run(store.save_job(a_job(status=Status.RUNNING)))

    assert run(store.list_jobs(Query(10))) == []


@pytest.mark.parametrize("uploaded", [False, True])
def test_a_deleted_job_takes_everything_with_it(store: JobStore, run: Run, uploaded: bool) -> None:
    """Its id is free again, and the next job under it starts with nothing; other jobs keep theirs."""
    for job_id in ("other", "j"):
        if uploaded:
            run(store.begin_upload(f"up-{job_id}"))
            run(store.add_blocks(f"up-{job_id}", [a_block()]))
            run(store.commit_upload(f"up-{job_id}", a_job(job_id)))
        else:
            run(store.create_job(a_job(job_id), [a_block()]))
        run(store.append_results([Log(job_id).segment(0, [False] * 3)], [], {job_id: ["file"]}))

    run(store.delete_job("j"))
    run(store.delete_job("j"))

    assert run(store.get_job("j")) is None
    assert run(store.read_block("j", 0)) is None
    assert run(store.done_ranges("j")) == []
    assert run(store.read_block("other", 0)) == a_block()
    assert run(store.done_ranges("other")) == [(0, 3)]
    run(store.create_job(replace(a_job(), task="second"), [a_block(0, 1)]))
    assert run(store.done_ranges("j")) == []
    assert run(store.read_block("j", 2)) is None


# -- Files


def a_file(file_id: str = "sha256-0", name: str | None = "ä.jpg") -> StoredFile:
    return StoredFile(file_id, 3 << 30, name, "image/jpeg", NOON)


def test_a_file_is_noted_once(store: JobStore, run: Run) -> None:
    """The first note stays: the same bytes again are the same file."""
    run(store.add_file(a_file()))
    run(store.add_file(a_file(name="other.jpg")))
    run(store.add_file(a_file("sha256-1", name=None)))

    assert run(store.get_file("sha256-0")) == a_file()
    assert run(store.get_file("sha256-1")) == a_file("sha256-1", name=None)


def test_a_file_goes_when_nobody_names_it(store: JobStore, run: Run) -> None:
    """Conflict while a job's results do, however often; once the job is deleted it may go."""
    run(store.add_file(a_file()))
    run(store.create_job(a_job(), [a_block()]))
    log = Log()
    run(store.append_results([log.segment(0, [False])], [], {"j": ["sha256-0", "sha256-0"]}))
    run(store.append_results([log.segment(1, [False])], [], {"j": ["sha256-0"]}))

    with pytest.raises(Conflict):
        run(store.delete_file("sha256-0"))
    assert run(store.get_file("sha256-0")) == a_file()
    run(store.delete_job("j"))
    run(store.delete_file("sha256-0"))
    run(store.delete_file("sha256-0"))

    assert run(store.get_file("sha256-0")) is None
