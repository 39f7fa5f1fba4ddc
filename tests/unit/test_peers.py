"""The comparison with other libraries says of each what was seen, and each is asked the same."""

from pathlib import Path

import pytest

from bench.peers.cases import CASES, FAULTS, SIZES, Seen
from bench.peers.catalogue import PEERS
from bench.peers.functions import BAD, FUNCTIONS, call
from bench.peers.table import BEGIN, END, SPEED, Findings, fault, faults, put_between, speeds
from bench.server import ROOT


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


def test_text_goes_between_the_marks_and_nowhere_else() -> None:
    """What was there before is gone; without marks nothing is written."""
    assert put_between(f"a\n{BEGIN}\nold\n{END}\nz", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nz"
    with pytest.raises(ValueError, match="peers: begin"):
        put_between("nothing", "new")


def test_the_readme_has_the_marks() -> None:
    """`make bench-peers` finds them after half an hour, not before."""
    put_between((ROOT / "README.md").read_text(), "")


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
