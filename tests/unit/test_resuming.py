"""What of a job still waits after a restart."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.retry import Trouble
from app.domain.store import Note
from app.service.live import LiveJob
from app.service.resuming import waiting
from tests.builders import NOON, a_job

ITEMS = 20
INDEXES = st.integers(0, ITEMS - 1)


def a_note(index: int, *, failed: bool = True, death: bool = False) -> Note:
    return Note("job", index, 1, NOON, {"kind": "exception"} if failed else None, "said", death)


@given(done=st.sets(INDEXES), failed=st.lists(INDEXES), printed=st.sets(INDEXES))
def test_each_item_without_a_result_waits_in_one_place(
    done: set[int], failed: list[int], printed: set[int]
) -> None:
    """By itself if it failed before, in its range otherwise, where it printed something too."""
    notes = [*map(a_note, failed), *(a_note(index, failed=False) for index in printed)]

    number, left, troubles = waiting(ITEMS, [(index, 1) for index in sorted(done)], notes)

    assert number == ITEMS - len(done)
    assert set(troubles) == set(failed) - done
    assert list(troubles) == list(dict.fromkeys(index for index in failed if index not in done))
    assert {index: trouble.attempts for index, trouble in troubles.items()} == {
        index: failed.count(index) for index in troubles
    }
    in_ranges = [index for first, stop in left for index in range(first, stop)]
    assert in_ranges == [index for index in range(ITEMS) if index not in done and index not in troubles]
    assert all(first < stop for first, stop in left)


def test_what_befell_an_item_is_counted_on() -> None:
    """Attempts, and those that were their worker's end."""
    _, _, troubles = waiting(3, [], [a_note(1), a_note(1, death=True)])

    assert troubles == {1: Trouble(attempts=2, deaths=1)}


def test_an_item_that_failed_before_a_restart_runs_by_itself() -> None:
    """Before the others, with nothing of it charged again; what was added meanwhile waits behind."""
    live = LiveJob(a_job(total=10, sealed=False), None, "cpu", 1, now=0.0)
    live.grow(2)

    live.resume(10, *waiting(10, [], [a_note(3)]))

    assert live.next_items(workers=2) == (3, 1)
    assert list(live.todo) == [(0, 3), (4, 10), (10, 12)]
    assert live.waiting == 12
