"""What stores promise of single items: their results, and what is noted of their attempts."""

from app.domain.item import Segment
from app.domain.store import JobStore, Note
from tests.builders import NOON, a_block, a_job, a_line
from tests.contract.conftest import Run


def test_the_result_of_an_item_is_found(store: JobStore, run: Run) -> None:
    """By its index, in whichever segment it stands; none where there is none."""
    run(store.create_job(a_job(total=6), [a_block(0, 6)]))
    late = Segment("j", 4, 2, 0, 0, 0, a_line(4) + a_line(5))
    early = Segment("j", 0, 3, 0, 2, 0, a_line(0) + a_line(1) + a_line(2))
    run(store.append_results([late, early], [], {}))

    found = [run(store.read_result("j", index)) for index in range(7)]

    expected = [*early.lines.splitlines(), None, *late.lines.splitlines(), None]
    assert found == expected


def test_notes_come_back_by_item_in_the_order_they_were_made(store: JobStore, run: Run) -> None:
    """With everything in them, for one item or for all of a job."""
    notes = [
        Note("j", 2, 1, NOON, error={"kind": "exception", "message": "é"}),
        Note("j", 0, 1, NOON, log="hello\n"),
        Note("j", 2, 2, NOON, error={"kind": "crashed"}, death=True),
    ]
    run(store.create_job(a_job(), [a_block()]))

    run(store.append_results([], [], {}, notes))

    assert run(store.notes("j", 2)) == [notes[0], notes[2]]
    assert run(store.notes("j")) == [notes[1], notes[0], notes[2]]
    assert run(store.notes("j", 1)) == []


def test_notes_go_with_their_job(store: JobStore, run: Run) -> None:
    """A job of the same id later does not find them."""
    run(store.create_job(a_job(), [a_block()]))
    run(store.append_results([], [], {}, [Note("j", 0, 1, NOON, log="x")]))

    run(store.delete_job("j"))

    assert run(store.notes("j")) == []
