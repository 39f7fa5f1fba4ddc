"""The costs that schedules are measured with, and the best that can be done with them."""

import pytest

from bench.costs import TARGETS
from bench.makespan import costs_of, ideal_seconds


@pytest.mark.parametrize("kind", TARGETS)
def test_costs_are_the_same_every_time_and_have_the_mean_that_was_asked_for(kind: str) -> None:
    """So that two runs, and two libraries, are given the same work."""
    costs = costs_of(kind, 400, 10.0)

    assert costs == costs_of(kind, 400, 10.0)
    assert len(costs) == 400
    assert sum(costs) / 400 == pytest.approx(5.0 if kind == "uniform, half" else 10.0, rel=0.01)


def test_growing_costs_grow_and_lognormal_ones_have_a_heavy_tail() -> None:
    """The two that a rule which looks at the first items only is wrong about."""
    growing = costs_of("growing", 400, 10.0)
    lognormal = costs_of("lognormal", 400, 10.0)

    assert growing == sorted(growing)
    assert max(lognormal) > 5 * 10.0


def test_no_schedule_ends_before_its_longest_item_or_before_its_share_of_the_work() -> None:
    """The ideal is the greater of the two."""
    assert ideal_seconds([10.0] * 400, 2) == 2.0
    assert ideal_seconds([900.0, 10.0, 10.0], 2) == 0.9
