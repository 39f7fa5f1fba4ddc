"""The service's way to cut a job, against others on the same costs, on a clock that is only counted."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.chunking import KINDS, RULES, average, simulate

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_end_within_one_percent_of_the_ideal(kind: str) -> None:
    """Whether costs are all the same, spread, growing, or small but for some that are forty times as much."""
    assert average(kind, 2, "Millpond").over_ideal <= 1.01


@pytest.mark.parametrize("kind", KINDS)
def test_eight_workers_end_near_what_the_order_of_the_items_allows(kind: str) -> None:
    """Where a long one comes late, nobody who takes them in order ends sooner."""
    assert average(kind, 8, "Millpond").over_in_order <= 1.02


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("kind", ["lognormal", "growing", "bimodal"])
@pytest.mark.parametrize("other", ["Pool.map", "joblib"])
def test_uneven_costs_are_shared_better_than_by_others(kind: str, workers: int, other: str) -> None:
    """They cut before they know what items cost, or cannot take back what they have cut."""
    assert average(kind, workers, "Millpond").over_ideal < average(kind, workers, other).over_ideal


def test_whoever_is_free_takes_the_next_chunk_of_a_common_queue() -> None:
    """None waits behind a long one that another worker has."""
    costs = [7.0] + [1.0] * 7

    assert simulate(costs, 2, "Pool.map").makespan == 7.0


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_result_comes_after_one_item(kind: str, workers: int) -> None:
    """Not after a quarter of a worker's part."""
    others = average(kind, workers, "Pool.map").first_at

    assert average(kind, workers, "Millpond").first_at <= others / 10


@given(
    costs=st.lists(st.floats(1e-6, 2.0), min_size=1, max_size=200),
    workers=st.integers(1, 9),
    rule=st.sampled_from(sorted(RULES)),
)
def test_no_rule_does_better_than_can_be_or_worse_than_one_worker(
    costs: list[float], workers: int, rule: str
) -> None:
    """Every item is run, once: the simulation is worth its figures."""
    outcome = simulate(costs, workers, rule)

    ideal = max(sum(costs) / workers, max(costs))
    assert ideal * (1 - 1e-9) <= outcome.makespan
    assert outcome.makespan <= sum(costs) + 0.001 * (outcome.chunks + 1)


def test_the_documented_comparison_is_what_comes_out() -> None:
    """docs/benchmarks.md has a row for each kind of costs and number of workers: makespans, then first results."""
    table = (ROOT / "docs/benchmarks.md").read_text().partition("| costs | workers |")[2].splitlines()[2:12]
    told = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table]

    expected = []
    for kind in KINDS:
        for workers in (2, 8):
            averages = [average(kind, workers, rule) for rule in ("Millpond", "Pool.map", "joblib")]
            firsts = [its.first_at * 1_000 for its in averages]
            shown = [f"{first:,.0f}" if first >= 50 else f"{first:.1f}" for first in firsts]
            expected.append([str(workers), *(f"{its.over_ideal:.3f}" for its in averages), *shown])
    assert told == expected
