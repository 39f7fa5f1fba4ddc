"""A chunk's number may grow beyond what of it travels."""

from tests.unit.test_taking_back import Supervised
from workers.wire import WIRE_ID, Frame, Kind


def test_a_chunk_is_known_by_what_travels_of_its_number() -> None:
    """After four thousand million chunks, too."""
    number = WIRE_ID + 6
    supervised = Supervised()
    supervised.give(number, 1)

    supervised.slot.received(Frame(Kind.PART, b"{}\n", number & WIRE_ID, 0, 1), 1.0)
    supervised.slot.received(Frame(Kind.DONE, b"", number & WIRE_ID), 1.0)

    assert supervised.ends == {number: 1}
