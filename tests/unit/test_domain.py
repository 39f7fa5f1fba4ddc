"""The rules of jobs: what they may become, when they stop, when they are done, what runs again."""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.clock import SystemClock, new_id
from app.domain.eta import RESULTS_MIN, SECONDS_MIN, Rate
from app.domain.halt import SHARE_JUDGED_AFTER, parse_share, too_many_failures
from app.domain.job import FINISHED, TRANSITIONS, Counts, Event, Status, step
from app.domain.retry import DEATHS_MAX, runs_again

# -- Jobs


def test_a_finished_job_never_changes_again() -> None:
    """No event leads out of an end."""
    assert {status for status in Status if status.finished} == FINISHED
    assert not [status for status, _ in TRANSITIONS if status.finished]


def test_every_status_can_be_reached_and_every_job_can_end() -> None:
    """From `queued` to each of them, and from each unfinished one to an end."""

    def reachable(start: Status) -> set[Status]:
        found, new = {start}, {start}
        while new:
            new = {after for (before, _), after in TRANSITIONS.items() if before in new} - found
            found |= new
        return found

    assert reachable(Status.QUEUED) == set(Status)
    assert all(reachable(status) & FINISHED for status in Status)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("status", Status)
def test_what_is_not_in_the_table_does_not_happen(status: Status, event: Event) -> None:
    """An event that cannot happen here is a mistake of ours."""
    if (status, event) in TRANSITIONS:
        assert step(status, event) is TRANSITIONS[status, event]
    else:
        with pytest.raises(KeyError):
            step(status, event)


def test_who_asked_to_cancel_gets_cancelled() -> None:
    """Nothing else ends a job that is cancelling."""
    assert {after for (before, _), after in TRANSITIONS.items() if before is Status.CANCELLING} == {
        Status.CANCELLED
    }


numbers = st.integers(0, 50)


@given(numbers, numbers, numbers, numbers, numbers)
def test_the_five_counts_sum_to_the_total(
    queued: int, running: int, succeeded: int, failed: int, cancelled: int
) -> None:
    """What is nowhere else is queued."""
    total = queued + running + succeeded + failed + cancelled

    counts = Counts(total, running, succeeded, failed, cancelled)

    assert counts.queued == queued
    assert counts.done == succeeded + failed


@pytest.mark.parametrize("wrong", [{"succeeded": 4}, {"running": -1}, {"failed": 2, "cancelled": 2}])
def test_counts_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    """More items than there are, or less than none, is a mistake of ours."""
    with pytest.raises(AssertionError):
        Counts(3, **wrong)


# -- Stopping for failures


def test_without_a_limit_any_number_may_fail() -> None:
    """All of them, if need be."""
    assert not too_many_failures(None, 10**9, 10**9)


@given(limit=st.integers(0, 100), failed=st.integers(0, 200), others=st.integers(0, 200))
def test_a_number_is_the_most_that_may_fail(limit: int, failed: int, others: int) -> None:
    """However many succeeded."""
    assert too_many_failures(limit, failed, failed + others) == (failed > limit)


@given(percent=st.decimals(0, 100, places=2), failed=st.integers(0, 20_000), others=st.integers(0, 20_000))
def test_a_share_is_the_most_that_may_fail(percent: object, failed: int, others: int) -> None:
    """Exactly: no rounding stops a job whose share of failures is just what it tolerates."""
    done = failed + others
    stops = done >= SHARE_JUDGED_AFTER and failed > Fraction(str(percent)) / 100 * done

    assert too_many_failures(f"{percent}%", failed, done) == stops


def test_29_of_100_is_29_percent() -> None:
    """Though in floating point it is not."""
    assert 29 > 0.29 * 100
    assert not too_many_failures("29%", 29, 100)
    assert too_many_failures("29%", 30, 100)


def test_a_share_is_not_judged_by_the_first_few_results() -> None:
    """One failure in ten says little."""
    assert not too_many_failures("1%", SHARE_JUDGED_AFTER - 1, SHARE_JUDGED_AFTER - 1)
    assert too_many_failures("1%", 2, SHARE_JUDGED_AFTER)


@pytest.mark.parametrize(("text", "share"), [("3%", 0.03), ("0%", 0), ("100%", 1), ("0.5%", 0.005)])
def test_a_percentage_is_a_share(text: str, share: float) -> None:
    """From nothing to everything."""
    assert float(parse_share(text)) == share


@pytest.mark.parametrize(
    "text", ["", "%", "3", "3%%", "-1%", "101%", "nan%", "inf%", "-inf%", "three%", "1/2%"]
)
def test_what_is_no_percentage_is_refused(text: str) -> None:
    """ValueError, for the HTTP side to explain."""
    with pytest.raises(ValueError):
        parse_share(text)


# -- How fast, how long


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    """No rate before the first result, no end before 20 results or 5 seconds."""
    rate = Rate.starting(100.0, 0)
    assert rate.items_per_second(101.0) is None
    assert rate.eta_seconds(101.0, 10) is None

    rate.note(101.0, RESULTS_MIN - 1)
    assert rate.items_per_second(101.0) == RESULTS_MIN - 1
    assert rate.eta_seconds(101.0, 10) is None
    assert rate.eta_seconds(100.0 + SECONDS_MIN, 10) is not None
    rate.note(101.5, RESULTS_MIN)
    assert rate.eta_seconds(102.0, 10) is not None


@given(speed=st.floats(0.5, 1e5), seconds=st.integers(10, 60), every=st.floats(0.05, 3))
def test_a_steady_job_is_measured_as_steady(speed: float, seconds: int, every: float) -> None:
    """Whatever the rhythm of its results; what is left takes as long as it should."""
    rate = Rate.starting(0.0, 0)
    now = 0.0
    while now < seconds:
        now += every
        rate.note(now, int(speed * now))

    measured = rate.items_per_second(now)
    assert measured is not None
    assert measured == pytest.approx(speed, rel=0.1, abs=0.5)
    if int(speed * now) >= RESULTS_MIN:
        assert rate.eta_seconds(now, 1000) == pytest.approx(1000 / measured)


def test_what_was_long_ago_does_not_count() -> None:
    """A job that got slower is as fast as it is now."""
    rate = Rate.starting(0.0, 0)
    for second in range(1, 31):
        rate.note(second, 1000 * second)
    for second in range(31, 61):
        rate.note(second, 30_000 + second)

    assert rate.items_per_second(60.0) == pytest.approx(1, rel=0.1)


def test_a_job_that_does_not_move_has_no_end() -> None:
    """Its rate falls, and is never a division by zero."""
    rate = Rate.starting(0.0, 0)
    rate.note(1.0, 100)
    assert rate.eta_seconds(100.0, 100) == pytest.approx(100)
    for second in range(2, 30):
        rate.note(second, 100)

    assert rate.items_per_second(30.0) == 0
    assert rate.eta_seconds(30.0, 100) is None


def test_the_end_moves_at_once_with_the_share() -> None:
    """It is reckoned with the share that the job has now; once the pace is measured with that, nothing is added."""
    rate = Rate.starting(0.0, 0)
    for second in range(1, 21):
        rate.note(second, 100 * second, 1.0)
    assert rate.eta_seconds(20.0, 1000, 1.0) == pytest.approx(10)
    assert rate.eta_seconds(20.0, 1000, 0.25) == pytest.approx(40)
    assert rate.eta_seconds(20.0, 1000, None) == pytest.approx(10)

    for second in range(1, 41):
        rate.note(20 + second, 2000 + 25 * second, 0.25)
        assert rate.eta_seconds(20.0 + second, 1000, 0.25) == pytest.approx(40)
        assert rate.eta_seconds(20.0 + second, 1000, 1.0) == pytest.approx(10)


@given(times=st.lists(st.floats(0.001, 2), max_size=300))
@example([1.0] * 8 + [0.5] * 40)
def test_a_rate_remembers_little(times: list[float]) -> None:
    """However often it is told."""
    rate, now = Rate.starting(0.0, 0), 0.0
    for done, step_ in enumerate(times):
        now += step_
        rate.note(now, done)

    assert (
        len(rate.readings) <= 1 + 22
    )  # one from before, and two for each second of the ten, both ends included


# -- Running again


def test_an_item_runs_again_while_it_has_attempts() -> None:
    """Failures cost one each."""
    assert [runs_again(attempts, 0, 3) for attempts in range(5)] == [True, True, True, False, False]


def test_an_item_that_kills_workers_is_soon_given_no_more() -> None:
    """However many attempts it was promised."""
    assert [runs_again(deaths, deaths, 100) for deaths in range(4)] == [d < DEATHS_MAX for d in range(4)]
    assert runs_again(5, DEATHS_MAX - 1, 100)


# -- Ids

some_time = st.datetimes(
    datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001 -- see `timezones`
)  # fmt: skip


@given(earlier=some_time, milliseconds=st.integers(1, 10**12))
def test_ids_sort_by_their_time(earlier: datetime, milliseconds: int) -> None:
    """To the millisecond, as texts."""
    assert new_id(earlier) < new_id(earlier + timedelta(milliseconds=milliseconds + 1))


@given(some_time)
def test_ids_are_fit_for_paths_and_never_twice_the_same(now: datetime) -> None:
    """26 letters and digits, without those that look alike."""
    ids = {new_id(now) for _ in range(20)}

    assert len(ids) == 20
    assert all(re.fullmatch("[0-7][0-9a-hjkmnp-tv-z]{25}", job_id) for job_id in ids)


def test_the_clock_is_aware_and_never_goes_back() -> None:
    """UTC for people, a monotonic number for waiting."""
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]

    assert clock.now().utcoffset() == timedelta(0)
    assert readings == sorted(readings)


def test_results_from_before_a_restart_say_nothing_about_the_speed() -> None:
    """Only what came since counts."""
    rate = Rate.starting(100.0, 40_000)
    assert rate.items_per_second(101.0) is None

    rate.note(102.0, 40_200)

    assert rate.items_per_second(102.0) == 100.0
    assert rate.eta_seconds(102.0, 1_000) == 10.0
