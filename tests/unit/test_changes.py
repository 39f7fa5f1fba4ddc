"""Who looks after a while sees each job that changed once, the last first, and only its own."""

from datetime import timedelta

from app.domain.caller import ANYBODY, Caller, Role
from app.service.changes import JOBS_MAX, Changes
from tests.builders import NOON, a_job


def test_each_job_that_changed_is_told_once() -> None:
    """However often it did; and nothing that did before somebody looked."""
    changes = Changes(NOON)
    changes.note(a_job("before"))
    seen = changes.number
    for job_id in ("a", "b", "a", "c", "a"):
        changes.note(a_job(job_id))

    assert list(changes.since(seen, ANYBODY)) == ["a", "c", "b"]
    assert list(changes.since(changes.number, ANYBODY)) == []


def test_a_caller_sees_changes_of_its_own_jobs() -> None:
    """Another's are not there."""
    changes = Changes(NOON)
    for job_id, name in (("a", "ann"), ("b", "bob"), ("n", None)):
        changes.note(a_job(job_id, submitted_by=name))

    assert list(changes.since(0, Caller("ann", Role.SUBMIT))) == ["a"]
    assert list(changes.since(0, Caller("boss", Role.ADMIN))) == ["n", "b", "a"]


def test_what_is_kept_is_bounded() -> None:
    """The jobs that changed last are kept."""
    changes = Changes(NOON)
    for number in range(JOBS_MAX + 5):
        changes.note(a_job(f"j{number}"))

    kept = list(changes.since(0, ANYBODY))

    assert (len(kept), kept[0], kept[-1]) == (JOBS_MAX, f"j{JOBS_MAX + 4}", "j5")


def test_a_number_reaches_as_far_as_nothing_after_it_is_forgotten() -> None:
    """Not one from before that, nor one of another process, whenever that was."""
    changes = Changes(NOON)
    began = changes.number
    for number in range(JOBS_MAX):
        changes.note(a_job(f"j{number}"))
    changes.note(a_job("j0"))
    before = changes.reach(began)
    changes.note(a_job("new"))  # j1, the second to have changed, is forgotten

    assert before
    assert [changes.reach(began + n) for n in (0, 1, 2, JOBS_MAX + 2, JOBS_MAX + 3)] == [
        False, False, True, True, False,
    ]  # fmt: skip
    assert not changes.reach(Changes(NOON - timedelta(1)).number)
    assert not changes.reach(Changes(NOON + timedelta(1)).number)
