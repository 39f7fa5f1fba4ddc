"""What a store keeps apart by caller: the same from each of them."""

from datetime import timedelta

import pytest

from app.domain.errors import Conflict
from app.domain.store import JobStore, Position, Query, StoredFile
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run


def a_file(uploaded_by: str | None, name: str = "a.jpg") -> StoredFile:
    return StoredFile("file", 3, name, "image/jpeg", NOON, uploaded_by)


def test_a_list_is_of_one_callers_jobs(store: JobStore, run: Run) -> None:
    """Page by page, as many on each as were asked for; a job of nobody in particular is on nobody's."""
    for number in range(9):
        run(store.create_job(a_job(f"j{number}", submitted_by=("a", "b", None)[number % 3]), [a_block()]))

    first = run(store.list_jobs(Query(2, submitted_by="a")))
    last = Position(first[-1].id, NOON)
    rest = run(store.list_jobs(Query(2, submitted_by="a", cursor=last)))

    assert [job.id for job in [*first, *rest]] == ["j6", "j3", "j0"]
    assert run(store.list_jobs(Query(9, submitted_by="c"))) == []
    assert len(run(store.list_jobs(Query(9)))) == 9


def test_a_tombstone_says_whose_job_it_was(store: JobStore, run: Run) -> None:
    """So that only its caller is told."""
    run(store.create_job(a_job(submitted_by="a", expires_at=NOON), [a_block()]))

    run(store.expire_jobs(NOON + timedelta(seconds=1), 9))

    tombstone = run(store.tombstone("j"))
    assert tombstone is not None
    assert tombstone.submitted_by == "a"


def test_each_caller_has_its_own_name_for_a_file(store: JobStore, run: Run) -> None:
    """The same bytes uploaded twice are one file with two names; who asks for anybody's gets the first."""
    run(store.add_file(a_file("a", "holiday.jpg")))
    run(store.add_file(a_file("b", "evidence.jpg")))

    assert run(store.get_file("file", "a")) == a_file("a", "holiday.jpg")
    assert run(store.get_file("file", "b")) == a_file("b", "evidence.jpg")
    assert run(store.get_file("file", "c")) is None
    assert run(store.get_file("file")) in (a_file("a", "holiday.jpg"), a_file("b", "evidence.jpg"))


def test_a_file_is_a_callers_if_it_uploaded_it_or_was_given_it(store: JobStore, run: Run) -> None:
    """A result gives it to whose job it is; naming it in an item gives it to nobody."""
    run(store.add_file(a_file("a")))
    run(store.create_job(a_job(submitted_by="b"), [a_block()], None, ["file", "made"]))
    assert run(store.strange_files(["file"], "a")) == []
    assert run(store.strange_files(["file", "made", "never"], "b")) == ["file", "made", "never"]

    run(store.append_results([Log().segment(0, [False])], [], {"j": ["made"]}))

    assert run(store.strange_files(["file", "made"], "b")) == ["file"]
    assert run(store.strange_files(["made"], "a")) == ["made"]
    run(store.delete_job("j"))
    assert run(store.strange_files(["made"], "b")) == ["made"]


def test_a_file_goes_with_the_last_who_has_it(store: JobStore, run: Run) -> None:
    """One caller's deletion takes nothing from another; the last one's takes the file."""
    run(store.add_file(a_file("a")))
    run(store.add_file(a_file("b")))

    assert not run(store.delete_file("file", "a"))
    assert run(store.get_file("file", "a")) is None
    assert run(store.get_file("file", "b")) == a_file("b")
    assert run(store.delete_file("file", "b"))
    assert run(store.get_file("file")) is None


def test_a_job_of_anothers_keeps_a_file_and_is_not_told(store: JobStore, run: Run) -> None:
    """Whose own job names a file cannot delete it; if only others' do, it is gone for the caller and stays for them."""
    run(store.add_file(a_file("a")))
    run(store.create_job(a_job("mine", submitted_by="a"), [a_block()], None, ["file"]))
    run(store.create_job(a_job("theirs", submitted_by="b"), [a_block()], None, ["file"]))

    with pytest.raises(Conflict):
        run(store.delete_file("file", "a"))
    run(store.delete_job("mine"))

    assert not run(store.delete_file("file", "a"))
    assert run(store.get_file("file", "a")) is None
    assert run(store.forget_files(["file"])) == []


def test_whoever_asks_for_everybody_deletes_for_everybody(store: JobStore, run: Run) -> None:
    """Unless some job names the file."""
    run(store.add_file(a_file("a")))
    run(store.add_file(a_file(None)))
    run(store.create_job(a_job(submitted_by="b"), [a_block()], None, ["file"]))

    with pytest.raises(Conflict):
        run(store.delete_file("file"))
    run(store.delete_job("j"))

    assert run(store.delete_file("file"))
    assert run(store.get_file("file", "a")) is None


def test_what_a_caller_stores_is_its_items_results_and_uploads(store: JobStore, run: Run) -> None:
    """In bytes; nothing of anybody else's, and nothing any more once it is deleted."""
    log = Log()
    segment = log.segment(0, [False, True])
    run(store.create_job(a_job(submitted_by="a"), [a_block(0, 2), a_block(2, 1)]))
    run(store.append_results([segment], [], {}))
    run(store.add_file(a_file("a")))
    run(store.add_file(a_file("b")))
    run(store.add_file(a_file(None)))
    run(store.create_job(a_job("other"), [a_block()]))

    assert run(store.stored_bytes("a")) == len(a_block(0, 3).lines) + len(segment.lines) + 3
    assert run(store.stored_bytes("b")) == 3
    run(store.delete_job("j"))
    run(store.delete_file("file", "a"))
    assert run(store.stored_bytes("a")) == 0
