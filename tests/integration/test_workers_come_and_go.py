"""Workers are replaced, added and taken away while items run, and no item notices."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.crash.matrix import Watched, until
from tests.integration.watching import watching


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("pool")) as watched:
        yield watched


@pytest.fixture(scope="module")
def replacing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Each of its workers runs ten items."""
    with watching(tmp_path_factory.mktemp("replacing"), max_tasks_per_child="10") as watched:
        yield watched


def resize(watched: Watched, processes: int) -> None:
    watched.api.patch("/v1/pool/cpu", json={"processes": processes}).raise_for_status()


@pytest.mark.parametrize("chunksize", [1, 7, "auto"])
@pytest.mark.parametrize(("task", "item"), [("process_id", 1), ("nap", 0.001)])
def test_workers_are_replaced_after_so_many_items(
    replacing: Watched, task: str, item: float, chunksize: int | str
) -> None:
    """MAX_TASKS_PER_CHILD: other processes go on, no item is lost or charged."""
    lines = replacing.ran(task, [item] * (200 if task == "process_id" else 1200), chunksize=chunksize)
    replacing.recovers()

    assert [line for line in lines if "error" in line] == []
    pids = [line["output"] for line in lines]
    assert all("attempts" not in line for line in lines)
    if task == "process_id":
        assert len(set(pids)) >= 20
        assert max(map(pids.count, set(pids))) <= 10
    else:
        assert len(set(pids)) >= 2


def test_each_worker_draws_its_own_numbers(tmp_path: Path) -> None:
    """Though all are forked from one process, which has the generators that their tasks have loaded."""
    with watching(tmp_path, max_tasks_per_child="1") as watched:
        pairs = [line["output"] for line in watched.ran("drawn", [0] * 6, chunksize=1)]
        watched.recovers()

    assert [len(set(numbers)) for numbers in zip(*pairs, strict=True)] == [6, 6]


def test_a_worker_that_has_grown_is_replaced(tmp_path: Path) -> None:
    """MAX_MEMORY_PER_CHILD, looked at between items."""
    with watching(tmp_path, max_memory_per_child=str(64 << 20), processes="1") as watched:
        pids = [line["output"] for line in watched.ran("grow", [40] * 8, chunksize=8)]
        watched.recovers()

    assert len(set(pids)) >= 4


def test_a_pool_grows_and_shrinks_under_load(watched: Watched) -> None:
    """Up and down again and again: each item has its result once, at its first attempt."""
    jobs = [watched.submit("slow_square", [{"x": n, "seconds": 0.004} for n in range(400)]) for _ in range(2)]
    coroutines = watched.submit("nap", [0.05] * 200)
    for processes in (5, 1, 4, 2, 6, 3, 1, 2):
        done = watched.done(jobs[0])
        resize(watched, processes)
        watched.reaches(jobs[0], min(done + 20, 400))

    for job in jobs:
        assert [(line.get("output"), "attempts" in line) for line in watched.results(job)] == [
            (n * n, False) for n in range(400)
        ]
    assert all("output" in line for line in watched.results(coroutines))
    resize(watched, 2)
    watched.recovers()
    assert len(watched.workers()) == 2


def test_a_pool_that_shrinks_lets_the_running_items_end(watched: Watched) -> None:
    """None is cut short or run twice; who leaves without a successor was not replaced."""
    resize(watched, 4)
    watched.recovers()
    replaced = watched.api.get("/v1/pool").json()["pools"]["cpu"]["restarts"]
    job = watched.submit("sleep_for", [0.5] * 4, chunksize=1)
    until(lambda: watched.job(job)["counts"]["running"] == 4, 5, "all run")
    resize(watched, 1)

    assert [line["output"] for line in watched.results(job)] == [0.5] * 4
    until(lambda: len(watched.workers()) == 1, 2, "one is left")
    assert watched.api.get("/v1/pool").json()["pools"]["cpu"]["restarts"] == replaced
    resize(watched, 2)
    watched.recovers()


def test_a_zygote_that_is_killed_costs_no_item_anything(watched: Watched) -> None:
    """Its workers die with it; all they had runs again, uncharged, in those of another."""
    square = watched.submit("slow_square", [{"x": n, "seconds": 0.005} for n in range(300)])
    nap = watched.submit("nap", [0.2] * 50)
    for moment in (20, 120, 220):
        watched.reaches(square, moment)
        zygote = watched.zygote()
        assert zygote is not None
        zygote.kill()

    lines = watched.results(square)
    assert [line.get("output") for line in lines] == [n * n for n in range(300)]
    assert not any("attempts" in line for line in lines)
    assert all("output" in line for line in watched.results(nap))
    watched.recovers()


def test_a_pool_may_be_resized_while_there_is_no_zygote(watched: Watched) -> None:
    """The new one forks what was asked for meanwhile."""
    for processes in (4, 2, 3, 2):
        before = watched.workers()
        zygote = watched.zygote()
        assert zygote is not None
        zygote.kill()
        until(lambda before=before: not set(before) & set(watched.workers()), 2, "they are gone")  # type: ignore[misc]
        resize(watched, processes)
        until(watched.is_whole, 5, "all are there")
        assert len(watched.workers()) == processes


def test_children_of_tasks_do_not_outlive_the_zygote(watched: Watched) -> None:
    """They belong to the worker, and go with it."""
    (line,) = watched.ran("fork_grandchild", [60])
    child = line["output"]
    zygote = watched.zygote()
    assert zygote is not None
    zygote.kill()
    until(lambda: not psutil.pid_exists(child) or _dead(child), 2, "the child is gone")
    until(watched.is_whole, 5, "all are there")


def test_a_worker_stopped_at_any_moment_is_replaced(watched: Watched) -> None:
    """A job among whose workers each is stopped in turn ends all the same."""
    job = watched.submit("slow_square", [{"x": n, "seconds": 0.01} for n in range(100)], max_attempts=2)
    for pid in watched.workers():
        os.kill(pid, signal.SIGSTOP)

    assert [line["output"] for line in watched.results(job)] == [n * n for n in range(100)]
    watched.recovers()


def _dead(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
