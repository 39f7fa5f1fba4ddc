"""The comparison with other libraries says of each what was seen, and each is asked the same."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.peers.cases import CASES, FAULTS, SIZES, Seen
from bench.peers.catalogue import PEERS
from bench.peers.functions import BAD, FUNCTIONS, call
from bench.peers.library import Command, below
from bench.peers.probe import most_at_once, warm_up
from bench.peers.table import (
    SPEED,
    Findings,
    again,
    fault,
    faults,
    speeds,
    told_again,
)
from bench.server import ROOT
from tests.waiting import alive, eventually


def test_a_cell_is_the_median_of_the_runs() -> None:
    """A case that could not be measured leaves a dash, and so does a figure that nobody asked for."""
    found: dict[str, Findings] = {
        "One": {"short": Seen({"batch": [1.0, 90.0, 3.0]}), "long": None},
        "Two": {},
    }

    assert speeds(found, ("batch", "uniform")).splitlines()[2:] == ["| One | 3 | – |", "| Two | – | – |"]  # noqa: RUF001


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (Seen({}, 19, 19, "WorkerLostError"), "19/19, told `WorkerLostError`"),
        (Seen({}, 12, 19, None), "**12/19**, **told nothing**"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_a_fault_tells_the_share_of_the_good_and_what_the_bad_ones_caller_heard(
    seen: Seen | None, text: str
) -> None:
    """A share that is not whole is set in bold."""
    assert fault("kill", seen) == text


def test_after_a_restart_there_is_no_bad_item() -> None:
    """So nothing is told of it."""
    assert fault("restart", Seen({}, 20, 20)) == "20/20"
    assert faults({"One": {}}).splitlines()[2] == "| One | – | – | – | – |"  # noqa: RUF001


def test_what_was_seen_is_kept_and_read_as_it_was(tmp_path: Path) -> None:
    """By the process that saw it and the one that tells it."""
    seen = Seen({"batch": [1.5]}, 1, 2, "told")

    seen.save(tmp_path / "seen.json")

    assert Seen.load(tmp_path / "seen.json") == seen


def test_every_library_has_its_adapter_and_one_environment() -> None:
    """A module of its name; only the service is measured in the project's own."""
    folder = ROOT / "bench" / "peers" / "libraries"

    assert {path.stem for path in folder.glob("[!_]*.py")} == {peer.name for peer in PEERS}
    assert [peer.name for peer in PEERS if not peer.requirements] == ["millpond"]


@pytest.mark.parametrize("name", ["square", "kill", "unpicklable", "hang", "restart"])
def test_a_good_item_is_squared_whatever_the_bad_one_would_do(name: str) -> None:
    """In every case, so that the good ones' results can be checked."""
    assert call(name, BAD + 1) == (BAD + 1) ** 2


def test_every_case_of_a_fault_is_a_function_and_every_figure_a_column() -> None:
    """What is asked for by name is there."""
    assert set(FAULTS) <= set(FUNCTIONS) & set(CASES)
    assert len(SPEED) == 7
    assert {size.runs for size in SIZES.values()} == {1, 3}


@pytest.mark.parametrize(
    ("spans", "most"),
    [([(0.0, 1.0), (1.0, 2.0)], 1), ([(0.0, 1.0), (0.9, 2.0)], 2), ([(0, 9), (1, 2), (2, 3), (2, 4)], 3)],
)
def test_workers_are_there_once_their_items_ran_at_the_same_time(
    spans: list[tuple[float, float]], most: int
) -> None:
    """One worker's items never do, however many it runs; one begins when the one before it has ended."""
    assert most_at_once(spans) == most


class Slow:
    """A library whose second worker comes late, and with it what it has for many."""

    def __init__(self, *rounds: int) -> None:
        self._rounds = iter(rounds)
        self.asked: list[str] = []

    def start(self) -> None: ...

    def crash(self) -> None: ...

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        self.asked.append(name)
        workers = next(self._rounds)
        return [(item // workers, item // workers + 1) for item in items]

    def outcome(self, handle: Any, seconds: float) -> Any:
        return handle

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        self.asked.append(f"{len(items)} of {name}")
        return [item * item for item in items]


def test_a_library_is_timed_once_all_of_it_has_started() -> None:
    """Both workers had an item at once, and what it has for many was used: then the clock may run."""
    library = Slow(1, 1, 2)

    warm_up(library)

    assert library.asked == ["meet", "meet", "meet", "20 of square"]


def test_everything_that_a_library_has_started_is_killed() -> None:
    """Its command, and a child of that in a session of its own, as some have for each job."""
    program = "import subprocess; subprocess.run(['sleep', '60'], start_new_session=True)"
    command = Command("timeit", "--number", "1", "--repeat", "1", program)
    before = set(below(os.getpid()))

    command.start()
    eventually(lambda: len(set(below(os.getpid())) - before) == 2, 10, "a child and its child")
    family = [psutil.Process(pid) for pid in set(below(os.getpid())) - before]
    command.crash()

    eventually(lambda: not alive(family), 10, "the end of both")


def test_one_library_that_is_measured_again_has_new_rows_and_leaves_all_else() -> None:
    """Its row of each table, and a line in the list that says when; the line of the time before is gone."""
    old: dict[str, Findings] = {name: {"short": Seen({"batch": [1.0]})} for name in ("One", "Two")}
    new: dict[str, Findings] = {"Two": {"short": Seen({"batch": [2.0]}), "kill": Seen({}, 19, 19, "told")}}
    before = f"# Others\n\n- machine\n\n{speeds(old, ('batch',))}\n\n{faults(old)}\n"

    after = again(before, [speeds(new, ("batch",)), faults(new)], new)

    gone = {"| Two | 1 |", "| Two | – | – | – | – |"}  # noqa: RUF001
    come = {"| Two | 2 |", "| Two | 19/19, told `told` | – | – | – |"}  # noqa: RUF001
    assert set(before.splitlines()) - set(after.splitlines()) == gone
    assert set(after.splitlines()) - set(before.splitlines()) == come
    assert len(before.splitlines()) == len(after.splitlines())
    twice = told_again(told_again(after, "Two", "then"), "Two", "now")
    assert twice.splitlines()[2:5] == ["- machine", "- Two again: now", ""]


def test_a_library_without_a_row_is_not_written() -> None:
    """It was left out when all were measured: its place, and what stands beside it, are not known."""
    with pytest.raises(ValueError, match="Two has 0 rows, not 1"):
        again("| One | 1 |\n", ["| Two | 2 |"], {"Two": {}})
