"""Items of `async def` tasks run side by side in one worker, and still one is never taken for another."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.crash.matrix import Watched, until
from tests.integration.watching import watching


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One worker."""
    with watching(tmp_path_factory.mktemp("coroutines"), processes="1") as watched:
        yield watched


def test_a_hundred_sleep_at_once_in_one_worker(watched: Watched) -> None:
    """They take little longer than one."""
    job = watched.submit("nap", [1.0] * 100)
    took = until(lambda: watched.done(job) == 100, 10, "all done")

    assert len({line["output"] for line in watched.results(job)}) == 1
    assert took < 5


def test_each_has_a_limit_of_its_own(watched: Watched) -> None:
    """Those that are quick are not touched."""
    lines = watched.ran("nap", [0.01, 30] * 20, item_timeout_seconds=0.5)

    kinds = [line["error"]["kind"] if "error" in line else None for line in lines]
    assert kinds == [None, "timeout"] * 20


def test_one_that_blocks_is_interrupted(watched: Watched) -> None:
    """It has timed out; those beside it go on, in the same worker."""
    (before,) = watched.workers()
    beside = watched.submit("nap", [1.0] * 10)

    (line,) = watched.ran("block", [30], item_timeout_seconds=0.2)

    assert (line["error"]["kind"], line["error"]["type"]) == ("timeout", "TimeoutError")
    assert "in block" in line["error"]["traceback"]
    assert {line["output"] for line in watched.results(beside)} == {before}


@pytest.mark.parametrize(("how", "code"), [("step", 7), ("gather", 8)])
def test_a_death_is_charged_to_whose_step_it_was(watched: Watched, how: str, code: int) -> None:
    """Also if it was that of a coroutine which the item's own had started; all others run again."""
    items: list[dict[str, object]] = [{"seconds": 0.3} for _ in range(30)]
    items[13]["seconds"], items[13]["how"] = 0.1, how

    lines = watched.ran("nap_or_die", items)

    assert [line["index"] for line in lines if "error" in line] == [13]
    assert (lines[13]["error"]["kind"], lines[13]["error"].get("exit_code")) == ("crashed", code)


def test_a_child_of_a_coroutine_that_blocks_is_interrupted(watched: Watched) -> None:
    """It is the item's own doing."""
    items = [{"seconds": 0.05}] * 5 + [{"seconds": 0.01, "how": "block in a child"}]

    lines = watched.ran("nap_or_die", items, item_timeout_seconds=0.4)

    assert [line["index"] for line in lines if "error" in line] == [5]
    assert lines[5]["error"]["kind"] == "timeout"


def test_an_exit_in_a_child_of_a_coroutine_is_its_items_failure(watched: Watched) -> None:
    """asyncio would end its loop for it."""
    items = [{"seconds": 0.3}] * 5 + [{"seconds": 0.01, "how": "exit in a child"}]

    lines = watched.ran("nap_or_die", items)

    assert [line["index"] for line in lines if "error" in line] == [5]


def test_a_result_that_kills_is_charged(watched: Watched) -> None:
    """Encoding is a step like any other."""
    lines = watched.ran("deadly_result", [1])

    assert (lines[0]["error"]["kind"], lines[0]["error"]["exit_code"]) == ("crashed", 9)


def test_a_worker_killed_while_all_wait_costs_nobody(watched: Watched) -> None:
    """No step was under way."""
    watched.recovers()
    (worker,) = watched.workers()
    job = watched.submit("nap_announced", [2.0] * 40)
    until(lambda: watched.item(job, 39)["progress"], 10, "the last of them has begun")
    until(lambda: psutil.Process(worker).status() == psutil.STATUS_SLEEPING, 10, "no step is under way")
    os.kill(worker, signal.SIGKILL)

    assert all("output" in line for line in watched.results(job))


def test_logs_of_interleaved_steps_stay_apart(watched: Watched) -> None:
    """Every step's output is its item's."""
    job = watched.submit("say_in_turns", [f"<{n}>" for n in range(10)])
    watched.results(job)

    logs = [watched.item(job, n)["log"] for n in range(10)]
    assert logs == [f"<{n}>\n" * 20 for n in range(10)]


def test_large_items_stream_in_while_others_run(watched: Watched) -> None:
    """A frame that is half read when the last of the others ends is not lost."""
    before = watched.workers()
    lengths = [200_000 if n % 3 == 0 else 1 for n in range(120)]

    lines = watched.ran("pass_on", ["x" * length for length in lengths])

    assert [line["output"] for line in lines] == lengths
    assert watched.workers() == before


def test_coroutines_and_others_take_turns(watched: Watched, tmp_path: Path) -> None:
    """Jobs of both kinds share one worker, and all end."""
    kinds: list[tuple[str, list[Any]]] = [("nap", [0.05] * 60), ("square", list(range(300)))]
    jobs = [watched.submit(task, items) for task, items in kinds * 3]

    for job in jobs:
        assert all("output" in line for line in watched.results(job))


def test_one_cancelled_before_its_first_step_just_goes(watched: Watched) -> None:
    """It comes to the worker together with its cancellation, for the loop was held up; the worker lives on."""
    before = watched.workers()
    held = watched.submit("block", [0.6])
    until(lambda: watched.job(held)["counts"]["running"] == 1, 5, "it runs")
    job = watched.submit("nap", [60] * 5)
    until(lambda: watched.job(job)["counts"]["running"] == 5, 5, "they are sent")
    watched.api.post(f"/v1/jobs/{job}/cancel")

    took = until(lambda: watched.job(job)["status"] == "cancelled", 5, "it is cancelled")
    assert took < 1.5
    assert watched.results(held)[0].keys() == {"index", "output", "duration_ms"}
    assert watched.workers() == before
