"""A task's own limits: so many of its items at once, so many starts in a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.chunking import ITEMS_MAX
from app.domain.throttle import BURST_SECONDS, Bucket, Throttle
from workers.rate import starts_per_second
from workers.task import TaskDefinitionError, task


@given(
    rate=st.floats(1e-3, 1e5),
    waits=st.lists(st.floats(0, 100), min_size=1, max_size=50),
    greed=st.integers(1, 1000),
)
def test_no_stretch_of_time_has_more_starts_than_the_rate_and_a_burst(
    rate: float, waits: list[float], greed: int
) -> None:
    """Wherever it begins and ends, and however greedily tokens are taken."""
    bucket = Bucket(rate, 0.0)
    now = 0.0
    starts: list[tuple[float, int]] = []
    for wait in waits:
        now += wait
        count = min(greed, bucket.tokens(now))
        bucket.take(count)
        starts.append((now, count))

    for begin in range(len(starts)):
        total = 0
        for at, count in starts[begin:]:
            total += count
            assert total <= rate * (at - starts[begin][0] + BURST_SECONDS) + 1 + 1e-6


@given(rate=st.floats(0.01, 1e5))
def test_who_comes_when_told_finds_a_token(rate: float) -> None:
    """A timer set to the moment that the bucket names does not have to be set again."""
    bucket = Bucket(rate, 0.0)
    now = 0.0
    for _ in range(20):
        bucket.take(bucket.tokens(now))
        wait = bucket.seconds_until_next(now)
        assert wait > 0
        now += wait
        assert bucket.tokens(now) >= 1


def test_a_quiet_hour_does_not_end_in_a_storm() -> None:
    """What was not used is not saved up."""
    assert Bucket(10, 0.0).tokens(3600.0) == 1
    assert Bucket(1000, 0.0).tokens(3600.0) == 100


def test_what_did_not_start_may_start_again() -> None:
    """Items that came back from a worker unstarted cost nothing."""
    bucket = Bucket(100, 0.0)
    bucket.take(10)
    bucket.give_back(4)

    assert bucket.tokens(0.0) == 4


def test_so_many_workers_at_once_and_no_more() -> None:
    """A chunk is one item that runs; an end lets the next one go."""
    throttle = Throttle(2, None, now=0.0)
    assert (throttle.openings(0.0), throttle.allowed(0.0)) == (2, ITEMS_MAX)
    throttle.started(50)
    throttle.started(50)

    assert (throttle.allowed(0.0), throttle.limit(0.0)) == (0, "max_concurrency")
    assert throttle.seconds_until_allowed(0.0) is None  # time alone changes nothing

    throttle.ended()
    assert throttle.openings(0.0) == 1


def test_both_limits_hold_together() -> None:
    """The one that is reached is named."""
    throttle = Throttle(2, 10.0, now=0.0)
    throttle.started(1)

    assert (throttle.allowed(0.0), throttle.limit(0.0)) == (0, "rate_limit")
    assert throttle.seconds_until_allowed(0.0) == pytest.approx(0.1)
    assert throttle.allowed(0.1) == 1


@pytest.mark.parametrize(("text", "rate"), [("10/s", 10.0), ("100/m", 100 / 60), ("5000/h", 5000 / 3600)])
def test_a_rate_is_written_as_people_say_it(text: str, rate: float) -> None:
    """Per second, minute or hour."""
    assert starts_per_second(text) == rate


@pytest.mark.parametrize("text", ["10", "0/s", "10/d", "1.5/s", "-1/s", "10 / s", "\u0661/s", "", "10/s\n"])
def test_what_is_no_rate_is_refused_where_it_is_written(text: str) -> None:
    """When the module is imported, with the forms there are."""
    with pytest.raises(TaskDefinitionError, match=r'^rate_limit=.*"100/m"'):
        task(rate_limit=text)


@pytest.mark.parametrize("most", [0, -1, 1.5, "4", True])
def test_what_is_no_number_of_items_is_refused_where_it_is_written(most: object) -> None:
    """When the module is imported."""
    with pytest.raises(TaskDefinitionError, match=r"^max_concurrency=.*1 or more, or None"):
        task(max_concurrency=most)  # type: ignore[call-overload]
