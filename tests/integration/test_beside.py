"""What the service does beside its items is measured in turns with a `Pool` that keeps and passes on as much."""

from bench.beside import MAP, POOL, SERVICE, makespans, measure


def test_each_part_of_either_is_told() -> None:
    """Once for a tiny run, all results of which came; who runs items is told apart from who serves them."""
    told = measure("tiny")

    assert list(told) == [SERVICE, POOL]
    for (run,) in told.values():
        assert run["all"] == run["loop"] + run["other threads"] + run["workers"]
        assert min(run["loop"], run["workers"], run["workers, woken"]) > 0


def test_items_that_burn_take_no_less_than_the_ideal_in_all_three_ways() -> None:
    """Nobody is faster than two cores that do nothing else."""
    told = makespans("tiny")

    assert list(told) == [SERVICE, POOL, MAP]
    assert all(ratio >= 0.99 for (ratio,) in told.values())
