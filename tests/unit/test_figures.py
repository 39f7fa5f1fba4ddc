"""What was measured is told as it was, and can be read again."""

import pytest

from bench.figure import Figure, Target, at_least, at_most, percentile, ratio_at_most
from bench.plot import cost
from bench.report import recorded, table
from bench.results import document, tally


def a_figure(
    value: float = 3.0,
    reference: float | None = 2.0,
    unit: str = "s",
    target: Target | None = None,
    what: str = "squares",
) -> Figure:
    """One run, and one of the Pool."""
    references, against = ([reference], "Pool(2).map") if reference is not None else ([], "")
    return Figure(what, "1,000 items", [value], unit, references, against, target)


def test_a_figure_is_a_median_beside_a_median() -> None:
    """One odd run changes neither value nor reference, and the ratio is that of the two."""
    figure = Figure("squares", "", [2.0, 99.0, 4.0], "s", [1.0, 2.0, 0.1], "Pool")

    assert (figure.value, figure.reference, figure.ratio) == (4.0, 1.0, 4.0)


def test_a_figure_without_a_reference_has_no_ratio() -> None:
    """There is nothing to divide by."""
    assert a_figure(reference=None).ratio is None


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (None, None),
        (ratio_at_most(1.5), True),
        (ratio_at_most(1.4), False),
        (at_most(3), True),
        (at_most(2.9), False),
        (at_least(3), True),
        (at_least(3.1), False),
    ],
)
def test_a_target_is_of_the_ratio_or_of_the_value(target: Target | None, met: bool | None) -> None:
    """3 s beside 2 s are a ratio of 1.5 and a value of 3; the bound itself is good enough."""
    assert a_figure(target=target).met is met


def test_a_percentile_lies_between_the_values_around_it() -> None:
    """As of the numbers from 0 to 100, the p99 is 99."""
    assert percentile(range(101), 99) == 99
    assert percentile([1.0, 2.0], 50) == 1.5


def test_a_table_can_be_read_again() -> None:
    """Names, units and numbers come back, with or without reference, alone or inside a document."""
    figures = [
        a_figure(1234.5678, 0.00123, target=ratio_at_most(1.6)),
        a_figure(1e6, None, "jobs/s", at_least(1500), "8 connections"),
        a_figure(0.25, None, "MiB", what="memory"),
    ]

    back = recorded(document("a machine", {"W1": figures[:1], "W2": figures[1:]}, []))

    assert [record.name for record in back] == [
        ("W1", "squares", "Pool(2).map"),
        ("W2", "8 connections", ""),
        ("W2", "memory", ""),
    ]
    assert [(record.value, record.unit, record.ratio) for record in back] == [
        (1235, "s", 1003713.66),
        (1_000_000, "jobs/s", None),
        (0.25, "MiB", None),
    ]


def test_a_table_tells_the_target_and_whether_it_is_met() -> None:
    """In words that a reader needs no legend for."""
    text = table({"W1": [a_figure(target=ratio_at_most(1.4)), a_figure(target=at_least(3))]})

    assert [line.split("|")[8:10] for line in text.splitlines()[2:]] == [
        [" ≤ 1.4 times ", " missed "],
        [" ≥ 3 s       ", " met    "],
    ]


def test_a_document_without_a_table_is_refused() -> None:
    """It is not taken for one in which nothing was measured."""
    with pytest.raises(ValueError, match="headings workload, what"):
        recorded("# Results\n\n| workload | what |\n| --- | --- |\n")


def test_a_document_says_which_targets_are_missed_and_what_could_not_be_measured() -> None:
    """Above and below the table."""
    measured = {"W1": [a_figure(target=ratio_at_most(9)), a_figure(target=ratio_at_most(1), what="more")]}

    assert tally(measured) == "1 of 2 targets are met; missed: W1 more."
    assert "- W2: WrongResult: no" in document("here", measured, ["W2: WrongResult: no"])


def test_the_picture_shows_more_as_worse() -> None:
    """Also of a rate, where less is worse."""
    assert cost(a_figure(4.0, 2.0)) == 2
    assert cost(a_figure(4.0, 2.0, "jobs/s")) == 0.5
