"""The end of a log that is still in memory is what the store has."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.item import Segment
from app.service.recent import Recent, Room


def a_segment(number: int, first: int, size: int) -> Segment:
    """One line of so many bytes, the `number`-th of its log."""
    return Segment("j", first, 1, 0, number, 0, b"%d" % first + b" " * size + b"\n")


@given(
    sizes=st.lists(st.integers(0, 40), max_size=20),
    room=st.integers(0, 200),
    bytes_max=st.integers(1, 100),
)
def test_a_page_goes_on_from_its_cursor_without_a_gap(sizes: list[int], room: int, bytes_max: int) -> None:
    """From any cursor it is what follows in the log, or nothing; what is kept is within what may be."""
    recent, left = Recent(), Room(room)
    log = [a_segment(number, number, size) for number, size in enumerate(sizes)]
    for segment in log:
        recent.add(segment, left)
        assert 0 <= left.bytes_left <= room

    for after in range(len(log) + 1):
        page = recent.page(after, bytes_max)
        if page is not None:
            assert page.count > 0
            assert page.lines == b"".join(segment.lines for segment in log[after : after + page.count])
            assert page.count == 1 or len(page.lines) <= bytes_max

    recent.release(left)
    assert left.bytes_left == room


def test_all_results_are_had_in_the_order_of_their_items_or_not_at_all() -> None:
    """What is missing at the front was made room for."""
    recent, room = Recent(), Room(100)
    for number, first in enumerate([2, 0, 1]):
        recent.add(a_segment(number, first, 1), room)

    assert recent.by_index(3, 9) == b"0 \n1 \n2 \n"
    assert recent.by_index(4, 9) is None
    assert recent.by_index(3, 8) is None
