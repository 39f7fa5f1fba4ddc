"""A run is compared with what was recorded: ratios as they are, times by how fast the machine is, and row by row."""

from collections.abc import Sequence

import pytest

from bench.check import SLOWER_MAX, WORSE_MAX, compared, judge, shown, unmatched
from bench.figure import Figure
from bench.report import as_recorded
from bench.results import document

HEAD = "a machine\na million additions in Python take 50 ms of CPU"


def a_figure(
    value: float = 3.0,
    reference: float | None = 2.0,
    unit: str = "s",
    what: str = "squares",
    size: str = "1,000 items",
) -> Figure:
    """One run, and one of the Pool."""
    references, against = ([reference], "Pool(2).map") if reference is not None else ([], "")
    return Figure(what, size, [value], unit, references, against)


class Runs:
    """What each time is measured of W1, or what is wrong with it; and what was asked for."""

    def __init__(self, *runs: list[Figure] | str) -> None:
        self._runs = iter(runs)
        self.asked: list[list[str]] = []

    def __call__(self, names: Sequence[str]) -> tuple[dict[str, list[Figure]], list[str]]:
        self.asked.append(list(names))
        run = next(self._runs)
        return ({}, [run]) if isinstance(run, str) else ({"W1": run}, [])


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (a_figure(2.0, 1.0), a_figure(2.0 * WORSE_MAX + 0.1, 1.0)),
        (a_figure(30.0, None, "MiB"), a_figure(30.0 * WORSE_MAX + 1, None, "MiB")),
        (a_figure(900.0, 1000.0, "jobs/s"), a_figure(500.0, 1000.0, "jobs/s")),
        (a_figure(2.0, None, "ms"), a_figure(2.0 * SLOWER_MAX + 0.1, None, "ms")),
        (a_figure(900.0, None, "lines/s"), a_figure(900.0 / SLOWER_MAX - 1, None, "lines/s")),
        (a_figure(99.0, None, "% of half"), a_figure(99.0 / WORSE_MAX - 1, None, "% of half")),
    ],
    ids=["ratio", "memory", "rate by rate", "plain time", "plain rate", "share"],
)
def test_what_got_worse_is_said(was: Figure, now: Figure) -> None:
    """Beyond its bound whatever it is, with the workload and both numbers."""
    found = compared([as_recorded("W1", was)], {"W1": [now]})

    assert list(found) == ["W1"]
    assert found["W1"][0].startswith("W1 squares: ")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (a_figure(2.0, 1.0), a_figure(2.0 * WORSE_MAX, 1.0)),
        (a_figure(2.0, 1.0), a_figure(200.0, 100.0)),
        (a_figure(2.0, None, "ms"), a_figure(2.0 * SLOWER_MAX, None, "ms")),
        (a_figure(500.0, 1000.0, "jobs/s"), a_figure(5000.0, 1000.0, "jobs/s")),
        (a_figure(0.0, None, "MiB"), a_figure(1.0, None, "MiB")),
        (a_figure(60.0, None, "% of half"), a_figure(99.0, None, "% of half")),
    ],
    ids=["within bounds", "slower machine", "plain time", "better rate", "nothing before", "more of a share"],
)
def test_what_is_no_regression_is_not_said(was: Figure, now: Figure) -> None:
    """Noise, another machine, and what got better."""
    assert compared([as_recorded("W1", was)], {"W1": [now]}) == {}


def test_a_plain_time_may_take_longer_on_a_slower_machine() -> None:
    """By as much as it is slower; a ratio may not."""
    was, now = a_figure(2.0, None, "ms"), a_figure(10.0, None, "ms")
    ratios = a_figure(2.0, 1.0), a_figure(10.0, 1.0)

    assert compared([as_recorded("W1", was)], {"W1": [now]}, slower=1.0) != {}
    assert compared([as_recorded("W1", was)], {"W1": [now]}, slower=2.0) == {}
    assert compared([as_recorded("W1", ratios[0])], {"W1": [ratios[1]]}, slower=9.0) != {}


@pytest.mark.parametrize(
    ("workload", "was", "now", "why"),
    [
        (
            "W6",
            a_figure(14.0, 1.0, what="CPU of the serving process", size="1,000 viewers"),
            a_figure(90.0, 1.0, what="CPU of the serving process", size="200 viewers"),
            "200 viewers, recorded 1,000 viewers",
        ),
        ("W2", a_figure(9.0, None, "%"), a_figure(90.0, None, "%"), "it is the client's"),
        (
            "W1",
            a_figure(9.0, None, "apples"),
            a_figure(90.0, None, "apples"),
            "whether more apples is better",
        ),
    ],
    ids=["another size", "the client", "a new unit"],
)
def test_what_is_not_judged_is_shown_and_why(workload: str, was: Figure, now: Figure, why: str) -> None:
    """It never makes the run worse."""
    before, measured = [as_recorded(workload, was)], {workload: [now]}

    assert compared(before, measured) == {}
    assert [why in text for text in shown(before, measured)] == [True]


def test_what_grows_with_the_size_is_compared_at_the_same_size() -> None:
    """As of a full run with another."""
    was, now = (a_figure(cpu, 1.0, what="CPU of the serving process") for cpu in (14.0, 90.0))

    assert list(compared([as_recorded("W6", was)], {"W6": [now]})) == ["W6"]


def test_the_tail_of_one_at_a_time_is_judged_by_itself() -> None:
    """Its reference's own moves from 10 to 44 ms by the run."""

    def judged(now: Figure) -> list[str]:
        was = a_figure(6.0, 33.0, "ms", what="one at a time, p99")
        return list(compared([as_recorded("W2", was)], {"W2": [now]}))

    assert judged(a_figure(6.0, 10.0, "ms", what="one at a time, p99")) == []
    assert judged(a_figure(6.0 * SLOWER_MAX + 0.1, 44.0, "ms", what="one at a time, p99")) == ["W2"]


def test_a_row_that_is_on_one_side_only_is_said() -> None:
    """Renamed, say: then the old one is no more measured, and the new one not recorded."""
    was, now = a_figure(what="squares"), a_figure(what="squares, really")

    assert unmatched([as_recorded("W1", was)], {"W1": [now]}) == [
        "W1 squares by Pool(2).map: recorded, and not measured",
        "W1 squares, really by Pool(2).map: measured, and not recorded",
    ]


BAD, GOOD, OTHER = [a_figure(20.0)], [a_figure(3.0)], [a_figure(3.0), a_figure(3.0, what="new")]


@pytest.mark.parametrize(
    ("runs", "status", "last"),
    [
        ([GOOD], 0, "as good as recorded"),
        ([BAD, GOOD], 0, "as good as recorded"),
        (["W1: WrongResult: no", GOOD], 0, "as good as recorded"),
        ([BAD, BAD], 1, "worse than recorded"),
        (["W1: WrongResult: no", "W1: WrongResult: no"], 1, "worse than recorded"),
        ([BAD, "W1: WrongResult: no"], 1, "worse than recorded"),
        ([OTHER], 1, "worse than recorded"),
    ],
    ids=["good", "worse once", "wrong once", "worse twice", "wrong twice", "worse, then wrong", "a new row"],
)
def test_the_exit_status_says_whether_something_is_worse(
    runs: list[list[Figure] | str], status: int, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What looks worse or was wrong is measured once more, and only that."""
    measured = Runs(*runs)

    assert judge(document(HEAD, {"W1": GOOD}, []), ["W1"], measured, 50.0) == status

    assert measured.asked == [["W1"]] * len(runs)
    *told, end = capsys.readouterr().out.splitlines()
    assert end == last
    assert any(line.startswith("WORSE: W1") for line in told) is bool(status)


def test_with_all_workloads_every_recorded_row_is_to_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a workload that was selected only its own are."""
    text = document(HEAD, {"W1": GOOD, "W9": [a_figure(what="gone")]}, [])

    assert judge(text, ["W1"], Runs(GOOD), 50.0) == 0
    assert judge(text, [], lambda names: ({"W1": GOOD}, [f"{name}: no" for name in names[1:]]), 50.0) == 1
    assert "WORSE: W9 gone by Pool(2).map: recorded, and not measured" in capsys.readouterr().out


def test_a_machine_that_is_slower_by_the_head_of_the_table_is_given_longer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And one that is faster no less: some of the time is slept."""
    text = document(HEAD, {"W1": [a_figure(2.0, None, "ms")]}, [])
    slow, slower = [a_figure(5.0, None, "ms")], [a_figure(11.0, None, "ms")]

    assert [judge(text, ["W1"], Runs(slow, slow), ms) for ms in (25.0, 50.0)] == [0, 0]
    assert [judge(text, ["W1"], Runs(slower, slower), ms) for ms in (25.0, 50.0, 100.0)] == [1, 1, 0]
    assert (
        "6.0 times as long as recorded: a million additions took 50 ms then, 100 ms now"
        in capsys.readouterr().out
    )
