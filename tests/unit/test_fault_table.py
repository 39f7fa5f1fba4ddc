"""The comparison of faults says of each library what was seen, no more and no less."""

import re

import pytest

from bench.faults import __main__ as faults
from bench.faults.catalogue import BY_NAME, FAULTS
from bench.faults.library import Ledger, Work, told
from bench.faults.observation import Observation
from bench.faults.probe import Call, judge
from bench.faults.table import afterwards, cell, verdict
from bench.faults.tasks import BAD, ITEMS, MISDEEDS
from bench.faults.warden import observe
from bench.server import ROOT

DOCUMENT = ROOT / "docs" / "faults.md"
EXIT, IDLE = BY_NAME["exit"], BY_NAME["idle"]


def seen(**what: object) -> Observation:
    """A pool that came through its worker's exit, but for what is told."""
    normal = {"right": 39, "good": 39, "error": "Died: exit code 43", "seconds": 0.02, "workers": 2}
    return Observation(**normal | what)  # type: ignore[arg-type]  # the tests name real fields


def a_call(**what: object) -> Call:
    """A call after which every good item has its right result."""
    ledger = Ledger()
    for x in set(range(ITEMS)) - {BAD}:
        ledger.succeeded(x, [x * x, 1])
    return Call(lambda work, ledger: None, Work(range(ITEMS)), ledger, **what)  # type: ignore[arg-type]  # ditto


@pytest.mark.parametrize(
    ("observation", "text"),
    [
        (seen(), "39/39, exit code 43, 0.02 s, usable"),
        (seen(seconds=0.004), "39/39, exit code 43, < 0.01 s, usable"),
        (seen(workers=1), "39/39, exit code 43, 0.02 s, usable, 1 of 2 workers"),
        (
            seen(
                right=12, error="BrokenProcessPool: a process ended", workers=0, refusal="BrokenProcessPool"
            ),
            "12/39, only `BrokenProcessPool`, 0.02 s, **broken**",
        ),
        (
            seen(right=12, error=None, seconds=None, hangs=True, workers=0),
            "**hangs**; 12/39, **dead**",
        ),
        (seen(error=None, seconds=None), "39/39, no error, usable"),
        (None, "did not start"),
    ],
)
def test_a_cell_tells_share_error_time_and_what_came_after(
    observation: Observation | None, text: str
) -> None:
    """A cell has these four parts, in this order, and leaves out what there was none of."""
    assert cell(EXIT, observation) == text


@pytest.mark.parametrize(("left", "text"), [(0, "none left"), (4, "**4 left**")])
def test_a_cell_of_a_dead_parent_counts_orphans(left: int, text: str) -> None:
    """Where the parent was killed, only who is left counts."""
    assert cell(BY_NAME["parent-idle"], Observation(left=left)) == text


def test_without_a_bad_item_no_error_is_no_news() -> None:
    """Killed idle workers need cost no item anything."""
    assert cell(IDLE, seen(right=40, good=40, error=None, seconds=None)) == "40/40, usable"


@pytest.mark.parametrize(
    ("fault", "error", "named"),
    [
        ("exit", "WorkerDied: the worker process exited with status 43", True),
        ("exit", "ProcessExpired: Abnormal termination, exit code 43", True),
        ("exit", "BrokenProcessPool: terminated abruptly (line 43)", False),
        ("kill", "WorkerDied: the worker process was ended by SIGKILL", True),
        ("kill", "ProcessExpired: Abnormal termination, exit code -9", True),
        ("segfault", "ProcessExpired: Abnormal termination, exit code -9", False),
        ("unpicklable", "TypeError: cannot pickle '_thread.lock' object", False),
        ("result", "TypeError: cannot pickle '_thread.lock' object", True),
        ("result", "InvalidOutput: lock has no form in JSON", True),
        ("endless", "TimeoutError: took longer than 1 s", True),
    ],
)
def test_an_error_names_a_fault_or_is_only_an_error(fault: str, error: str, named: bool) -> None:
    """An error that would fit any fault is told apart from one that says what happened."""
    expected = BY_NAME[fault].told if named else f"only `{error.partition(':')[0]}`"

    assert verdict(BY_NAME[fault], seen(error=error)) == expected


def test_a_pool_that_answers_nothing_is_not_one_that_refuses() -> None:
    """Who is told can do something about it; who waits cannot."""
    assert afterwards(seen(workers=0, refusal="BrokenProcessPool: not usable anymore")) == "**broken**"
    assert afterwards(seen(workers=0, refusal=None)) == "**dead**"


def test_the_errors_cause_is_part_of_what_it_tells() -> None:
    """A traceback shows causes, so they count; so does an exit code that only an attribute has."""
    error = OSError("ended")
    error.exitcode = 43  # type: ignore[attr-defined]  # as pebble has it
    error.__cause__ = ValueError("the cause")

    assert told(error) == "OSError: ended, exit code 43\nValueError: the cause"


def test_wrong_results_do_not_count() -> None:
    """Only an item's own square is its right result."""
    call = a_call()
    call.ledger.succeeded(3, [10, 1])
    call.ledger.failed(BAD, "Died: exit code 43")

    observation = judge(call, EXIT, call.ledger.known_at[BAD] - 0.5, hangs=False)

    assert (observation.right, observation.good) == (38, 39)
    assert observation.error == "Died: exit code 43"
    assert observation.seconds == pytest.approx(0.5)


def test_a_call_that_raises_tells_of_its_bad_item_too() -> None:
    """Where no item has an error of its own, the whole call's is what its caller got."""
    observation = judge(a_call(error="Broken: all of it", error_at=7.25), EXIT, 7.0, hangs=False)

    assert (observation.error, observation.seconds) == ("Broken: all of it", 0.25)


def test_the_document_has_every_fault_twice_or_the_parents_once() -> None:
    """docs/faults.md holds the tables of the faults that there are."""
    rows = [line.split(" | ")[0].removeprefix("| ") for line in DOCUMENT.read_text().splitlines()]

    assert all(rows.count(fault.title) == (1 if fault.kind == "parent" else 2) for fault in FAULTS)


def test_every_misdeed_of_the_catalogue_exists() -> None:
    """The catalogue names what the task can do, and all of it."""
    assert {fault.misdeed for fault in FAULTS} - {""} == set(MISDEEDS)


def test_an_observation_survives_being_written_down() -> None:
    """What the probe writes is what the table reads."""
    assert Observation.load(seen().dump()) == seen()


def test_what_did_not_start_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    """A cell that says no more than that cannot be looked into."""
    assert observe("nothing", "exit", "map") is None

    assert "there is no library 'nothing'" in capfd.readouterr().err


def test_a_table_is_headed_by_where_it_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those of the other benchmarks are, and by what else there is in it."""
    monkeypatch.setattr(faults, "observe", lambda *_: seen())

    faults.main(["--library", "millpond", "--fault", "exit"])

    machine, _, versions, revision, others = capsys.readouterr().out.splitlines()[:5]
    assert re.search(r", load \d+\.\d at the start$", machine)
    assert versions.startswith("- Python ")
    assert re.match(r"- revision \S+, .*`python -m bench.faults --library millpond --fault exit`$", revision)
    assert others.startswith("- pebble ")


def test_millpond_loses_one_item_to_an_exit() -> None:
    """The real service, two workers, forty items: the bad one alone fails, and says how."""
    observation = observe("millpond", "exit", "map")

    assert observation is not None
    assert (observation.right, observation.hangs, observation.workers) == (39, False, 2)
    assert verdict(EXIT, observation) == "exit code 43"


def test_millpond_leaves_nobody_behind() -> None:
    """The real service is SIGKILLed while its workers hold the interpreter lock; two seconds later nobody is left."""
    assert observe("millpond", "parent-gil", "each") == Observation(left=0)
