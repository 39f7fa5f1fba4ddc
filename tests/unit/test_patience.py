"""Time limits that a job finds by itself, and waits between attempts."""

import pytest

from app.domain.patience import ITEMS_MIN, SECONDS_MIN, Patience
from app.domain.retry import BACKOFF_SECONDS_MAX, backoff_seconds


def test_there_is_no_limit_before_enough_items() -> None:
    """Nineteen say too little, twenty enough."""
    patience = Patience()
    patience.report(ITEMS_MIN - 1, 19.0)
    assert patience.limit_seconds is None

    patience.report(1, 1.0)
    assert patience.limit_seconds == 10.0


def test_one_slow_chunk_does_not_move_the_limit() -> None:
    """It is the median that counts."""
    patience = Patience()
    for _ in range(50):
        patience.report(10, 10.0)
    patience.report(1, 1000.0)

    assert patience.limit_seconds == 10.0


def test_quick_items_have_a_second() -> None:
    """Below that the noise of the machine would decide."""
    patience = Patience()
    patience.report(1000, 0.01)

    assert patience.limit_seconds == SECONDS_MIN


@pytest.mark.parametrize(("attempts", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (20, BACKOFF_SECONDS_MAX)])
def test_waits_double_up_to_a_minute_and_are_spread_over_all_of_it(attempts: int, longest: float) -> None:
    """Full jitter: anything from nothing to the longest."""
    assert [backoff_seconds(0.5, attempts, chance) for chance in (0.0, 0.5, 1.0)] == [
        0.0,
        longest / 2,
        longest,
    ]
