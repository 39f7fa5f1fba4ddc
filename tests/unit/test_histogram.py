"""Durations are counted under the bounds they do not exceed."""

from app.domain.histogram import Histogram


def test_each_duration_counts_under_every_bound_it_is_within() -> None:
    """The bound itself included; the last bound takes all."""
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.note(seconds)

    assert histogram.cumulative() == [(0.1, 2), (1.0, 3), (float("inf"), 4)]
    assert (histogram.longest, round(histogram.total, 2)) == (7.0, 7.65)
