"""The check of a million results notices each way in which they can be wrong."""

import pytest

from bench.figure import WrongResult
from bench.squares import check

RIGHT = b'{"index":1,"output":1}\n{"index":0,"output":0}\n'


def test_right_results_are_right_in_any_order_and_any_pieces() -> None:
    """Completion order is as good as any."""
    check([RIGHT, b'{"index":2,"output":4}\n'], 3)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([RIGHT], "2 results, not one for each of 3"),
        ([RIGHT, b'{"index":2,"output":5}'], "the square of 2 is not 5"),
        ([RIGHT, b'{"index":1,"output":1}'], "too many, of item 1"),
        ([RIGHT, b'{"index":3,"output":9}'], "too many, of item 3"),
    ],
    ids=["missing", "wrong", "twice", "beyond"],
)
def test_a_result_that_is_missing_wrong_or_too_many_is_refused(pieces: list[bytes], said: str) -> None:
    """Nothing is measured of a service that answers so."""
    with pytest.raises(WrongResult, match=said):
        check(pieces, 3)
