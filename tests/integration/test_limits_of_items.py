"""Time limits and cancellation: what an item may still do, and what becomes of its neighbours."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.matrix import Watched, until
from tests.integration.watching import watching

END_SECONDS_MAX = 4.0
"""The grace, and what a busy machine takes."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("limits")) as watched:
        yield watched


# -- Time limits


@pytest.mark.parametrize("task", ["clean_up", "nap_politely"])
def test_an_item_may_clean_up_at_its_limit(watched: Watched, task: str) -> None:
    """TimeoutError is raised in it; what it prints then is in its log, and its worker lives on."""
    before = set(watched.workers())

    (line,) = watched.ran(task, [30], item_timeout_seconds=0.2)

    error = line["error"]
    assert (error["kind"], error["type"]) == ("timeout", "TimeoutError")
    assert "ended by TimeoutError" in error["log"]
    assert error["log"].rstrip().endswith("cleaned up")
    assert set(watched.workers()) == before


def test_a_limit_is_kept_within_a_few_hundredths(
    watched: Watched, record_property: Callable[[str, object], None]
) -> None:
    """The look every 20 ms, and the machine's own delays, are all that is added."""
    lines = watched.ran("sleep_for", [30] * 10, item_timeout_seconds=0.3)

    late = sorted(line["duration_ms"] - 300 for line in lines)
    record_property("late_ms", late)
    assert late[0] >= 0
    assert late[5] < 150


@pytest.mark.parametrize(("task", "limit"), [("hold_gil", 0.2), ("burn", 0.2)])
def test_a_failure_shows_where_the_item_was(watched: Watched, task: str, limit: float) -> None:
    """Also where no Python code could run any more: the stack at that moment is in the traceback."""
    (line,) = watched.ran(task, [60_000 if task == "burn" else 60], item_timeout_seconds=limit)

    assert line["error"]["kind"] == "timeout"
    assert f"in {task}" in line["error"]["traceback"]
    assert "faults.py" in line["error"]["traceback"]
    assert "/workers/calling.py" not in line["error"]["traceback"]


def test_a_traceback_ends_in_the_innermost_function(watched: Watched) -> None:
    """The task's own frames, down to where it waited."""
    (line,) = watched.ran("deep", [30], item_timeout_seconds=0.2)

    assert "inner_function" in line["error"]["traceback"]
    assert "chunk.py" not in line["error"]["traceback"]


def test_an_item_that_takes_too_long_to_encode_has_timed_out(watched: Watched) -> None:
    """Its result counts as its own doing."""
    (line,) = watched.ran("slow_result", [1], item_timeout_seconds=0.2)

    assert line["error"]["kind"] == "timeout"


@pytest.mark.parametrize("task", ["sleep_for", "hold_gil"])
def test_neighbours_of_a_timed_out_item_have_their_results(watched: Watched, task: str) -> None:
    """It was in the middle of their chunk."""
    items = [0] * 10 + [30] + [0] * 10

    lines = watched.ran(task, items, chunksize=21, item_timeout_seconds=0.3)

    assert [line["index"] for line in lines if "error" in line] == [10]
    assert lines[10]["error"]["kind"] == "timeout"


def test_many_items_at_their_limit_end_in_time(watched: Watched) -> None:
    """Each of a chunk has a limit of its own."""
    lines = watched.ran("sleep_for", [5] * 8, chunksize=4, item_timeout_seconds=0.1)

    assert [line["error"]["kind"] for line in lines] == ["timeout"] * 8


# -- Cancellation


def cancelled(watched: Watched, job: str) -> dict[str, int]:
    """The counts of the job, once it was cancelled and has ended."""
    watched.api.post(f"/v1/jobs/{job}/cancel")
    took = until(lambda: watched.job(job)["status"] == "cancelled", END_SECONDS_MAX, "it is cancelled")
    assert took < END_SECONDS_MAX
    counts = watched.job(job)["counts"]
    assert isinstance(counts, dict)
    return counts


def test_what_had_not_started_never_starts(watched: Watched, tmp_path: Path) -> None:
    """Only items that were running at the time have begun, also those of the same chunk."""
    path = tmp_path / "began"
    items = [{"x": x, "path": str(path), "seconds": 30} for x in range(50)]
    job = watched.submit("nap_noted", items, chunksize=10)
    until(lambda: path.exists() and len(path.read_text().split()) == 2, 5, "two run")

    counts = cancelled(watched, job)
    assert counts == {"total": 50, "queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 50}
    watched.ran("sqrt", [1, 4])
    assert len(path.read_text().split()) == 2


def test_nothing_starts_behind_one_that_will_not_be_cancelled(watched: Watched, tmp_path: Path) -> None:
    """It swallows its cancellation and succeeds; the rest of its chunk is let go all the same."""
    path = tmp_path / "began"
    items = [{"x": x, "path": str(path), "seconds": 30, "stubborn": True} for x in range(20)]
    job = watched.submit("nap_noted", items, chunksize=10)
    until(lambda: path.exists() and len(path.read_text().split()) == 2, 5, "two run")

    assert cancelled(watched, job)["succeeded"] == 2
    assert len(path.read_text().split()) == 2


@pytest.mark.parametrize(
    ("task", "items"),
    [
        ("sleep_for", [60] * 2),
        ("hold_gil", [60] * 2),
        ("burn", [60_000] * 2),
        ("nap", [60] * 30),
        ("block", [60]),
    ],
)
def test_what_runs_ends(watched: Watched, task: str, items: list[float]) -> None:
    """Whatever it does, soon after; and the workers are there for others."""
    job = watched.submit(task, items, chunksize=1)
    until(lambda: watched.job(job)["counts"]["running"] == len(items), 5, "all run")

    assert cancelled(watched, job)["cancelled"] == len(items)
    watched.recovers()


@pytest.mark.parametrize("task", ["nap", "sleep_for"])
def test_a_job_cancelled_at_once_ends_at_once(watched: Watched, task: str) -> None:
    """Also where its items had not taken their first step; the workers stay the same."""
    before = set(watched.workers())
    for _ in range(10):
        job = watched.submit(task, [60] * 20)
        assert cancelled(watched, job)["cancelled"] == 20
    assert set(watched.workers()) == before


def test_a_cancelled_job_behind_another_does_not_harm_it(watched: Watched) -> None:
    """Two chunks wait with one worker, and the second is cancelled while the first takes long."""
    watched.ran("square", list(range(2000)))
    for _ in range(3):
        slow = watched.submit(
            "slow_square", [{"x": 2, "seconds": 0}] * 40 + [{"x": 3, "seconds": 2.6}] * 2, chunksize=1
        )
        other = watched.submit("slow_square", [{"x": 2, "seconds": 0}] * 400, chunksize=1)
        watched.api.post(f"/v1/jobs/{other}/cancel")
        assert [line.get("output") for line in watched.results(slow)] == [4] * 40 + [9] * 2


def test_the_log_of_a_cancelled_item_shows_its_clean_up(watched: Watched, tmp_path: Path) -> None:
    """It is asked to end by `ItemCancelled`, and is in no result."""
    job = watched.submit("nap_noted", [{"x": 1, "path": str(tmp_path / "f"), "seconds": 60}])
    until(lambda: (tmp_path / "f").exists(), 5, "it runs")
    cancelled(watched, job)

    assert watched.lines(job) == []
    assert re.fullmatch("cancelled", watched.item(job)["status"])
