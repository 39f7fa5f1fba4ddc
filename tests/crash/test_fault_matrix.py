"""Nothing a task does can hurt anything but its own item: every fault, in every company, in one service."""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from tests.conftest import serving
from tests.crash.matrix import CLEAN_SECONDS_MAX, TASKS, Document, Fault, Watched, until

GOOD_ITEMS = 300
LIMIT = {"item_timeout_seconds": 0.2}
CRASHED = "crashed"

FAULTS = [
    Fault("risky", [5], "exception", {"type": "ValueError"}),
    Fault("exit_process", [0], CRASHED, {"exit_code": 0}),
    Fault("exit_process", [3], CRASHED, {"exit_code": 3}),
    Fault("segfault", [], CRASHED, {"signal": "SIGSEGV"}),
    Fault("segfault", [], CRASHED, {"signal": "SIGSEGV", "attempts": 2}, {"max_attempts": 9}),
    Fault("sleep_for", [60], "timeout", options=LIMIT),
    Fault("burn", [60_000], "timeout", options=LIMIT),
    Fault("hold_gil", [60], "timeout", options=LIMIT),
    Fault("hostile_error", [], "exception", {"type": "Hostile"}),
    Fault("unserializable", [], "invalid_output"),
    Fault("flaky", ["token", 99], "exception", {"attempts": 3}, {"max_attempts": 3}),
    Fault("crash_if", [7, 7], CRASHED, {"signal": "SIGKILL"}),
    Fault("crash_if", [7, 7], CRASHED, {"signal": "SIGKILL", "attempts": 2}, {"max_attempts": 2}),
    Fault("eat_memory", [600], "out_of_memory", {"type": "MemoryError"}),
    Fault("fork_grandchild", [0.5], None),
    Fault("print_lines", [100_000], None),
    Fault("abort", [], CRASHED, {"signal": "SIGABRT"}),
    Fault("raise_by_name", ["SystemExit"], "exception", {"type": "SystemExit"}),
    Fault("raise_by_name", ["KeyboardInterrupt"], "exception", {"type": "KeyboardInterrupt"}),
    Fault("raise_by_name", ["GeneratorExit"], "exception", {"type": "GeneratorExit"}),
    Fault("deaf", [60], "timeout", options=LIMIT),
    Fault("scribble", [], CRASHED, {"signal": "SIGKILL"}),
    Fault("fork_and_exit", [60], CRASHED, {"exit_code": 4}),
    Fault("die_while_sending", [50], CRASHED, {"signal": "SIGKILL"}),
]

SILENT = Fault("close_sockets", [], CRASHED)
"""Whoever closes the worker's own connection is told from those that run next only where none does."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One service for the whole matrix; when it has ended, so has all that it started."""
    data = tmp_path_factory.mktemp("matrix")
    memory = str(256 << 20)
    with serving(data, tasks=TASKS, processes="3", worker_memory_bytes=memory) as server:
        with server.client() as api:
            watched = Watched(server, api)
            yield watched
            family = watched.process.children(recursive=True)
        server.end()
        alive = outliving(family)
        assert alive == []


def arguments_of(fault: Fault) -> list[Any]:
    """Its arguments; a token that no other test has."""
    return [f"matrix-{uuid4().hex}" if argument == "token" else argument for argument in fault.arguments]


def item_of(arguments: list[Any]) -> Any:
    """The item that means these arguments."""
    return arguments[0] if len(arguments) == 1 else arguments or None


def squares(lines: list[Document], count: int) -> bool:
    return [line.get("output") for line in lines] == [x * x for x in range(count)]


@pytest.mark.parametrize("chunksize", [1, "auto"])
@pytest.mark.parametrize("fault", [*FAULTS, SILENT], ids=lambda fault: fault.name)
def test_a_fault_alone_is_its_own_failure(watched: Watched, fault: Fault, chunksize: int | str) -> None:
    """It has the right kind, and the pool is whole again."""
    item = item_of(arguments_of(fault))

    (line,) = watched.ran(fault.task, [item], chunksize=chunksize, **fault.options)

    assert fault.flaw(line) is None
    watched.recovers()


@pytest.mark.parametrize("chunksize", [1, "auto"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_among_good_items_fails_alone(watched: Watched, fault: Fault, chunksize: int | str) -> None:
    """The others of its chunk and its job have their right results, each once."""
    items: list[Document] = [{"x": x} for x in range(GOOD_ITEMS)]
    guilty = random.Random(fault.name).randrange(GOOD_ITEMS)
    items[guilty] = {"x": 0, "fault": fault.task, "arguments": arguments_of(fault)}

    lines = watched.ran("either", items, chunksize=chunksize, **fault.options)

    assert fault.flaw(lines[guilty]) is None
    rest = [line for line in lines if line["index"] != guilty]
    assert [line.get("output") for line in rest] == [x * x for x in range(GOOD_ITEMS) if x != guilty]
    watched.recovers()


@pytest.mark.parametrize("chunksize", [1, "auto"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_beside_another_job_leaves_it_alone(
    watched: Watched, fault: Fault, chunksize: int | str
) -> None:
    """Both jobs run at once; the other one is not touched."""
    good = watched.submit("square", list(range(GOOD_ITEMS)), chunksize=chunksize)
    bad = watched.ran(fault.task, [item_of(arguments_of(fault))] * 2, chunksize=chunksize, **fault.options)

    assert [fault.flaw(line) for line in bad] == [None, None]
    assert squares(watched.results(good), GOOD_ITEMS)
    watched.recovers()


# -- Signals from outside


@pytest.mark.parametrize("chunksize", [1, "auto"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP], ids=lambda n: n.name)
def test_a_signal_at_any_moment_costs_one_item_at_most(
    watched: Watched, number: signal.Signals, chunksize: int | str
) -> None:
    """Workers are killed at random moments: each takes at most the item it ran with it."""
    chance = random.Random(f"{number} {chunksize}")
    count = 300
    # Items of 5 ms: with shorter ones a worker often waits for the next, and every kill could find one that does.
    job = watched.submit("spin", list(range(count)), chunksize=chunksize, params={"ms": 5})
    kills = 0
    for moment in sorted(chance.sample(range(count - 50), 12)):
        watched.reaches(job, moment)
        if workers := watched.workers():
            os.kill(chance.choice(workers), number)
            kills += 1

    lines = watched.results(job)

    failed = {line["index"]: line["error"] for line in lines if "error" in line}
    assert 0 < len(failed) <= kills
    signals = {number.name, "SIGKILL"} if number is signal.SIGSEGV else {number.name}
    assert all(error["kind"] == CRASHED and error["signal"] in signals for error in failed.values())
    good = [line for line in lines if "output" in line]
    assert all(line["output"] == line["index"] ** 2 for line in good)
    watched.recovers()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP], ids=lambda n: n.name)
def test_an_idle_worker_that_is_killed_is_replaced(watched: Watched, number: signal.Signals) -> None:
    """No job notices."""
    watched.recovers()
    before = watched.workers()
    for pid in before:
        os.kill(pid, number)
    until(lambda: not set(before) & set(watched.workers()), 1.0, "others in their place")
    watched.recovers()

    assert squares(watched.ran("square", list(range(50))), 50)


def test_attempts_to_spare_hide_a_kill(watched: Watched) -> None:
    """With two attempts an item that lost its worker runs again, alone, and succeeds."""
    for moment in (20, 150):  # of a job each: whoever has lost two workers gets no third
        job = watched.submit("spin", list(range(300)), max_attempts=2)
        watched.reaches(job, moment)
        os.kill(watched.workers()[0], signal.SIGKILL)

        assert squares(watched.results(job), 300)


def test_a_worker_killed_behind_a_full_pipe_harms_nobody_else(watched: Watched) -> None:
    """The service does not read for a while, results pile up in the sockets, and a worker dies there."""
    job = watched.submit("large", [4] * 12, chunksize=1)
    watched.reaches(job, 2)
    workers = [psutil.Process(pid) for pid in watched.workers()]
    watched.process.suspend()
    try:
        used: list[float] = []

        def stuck() -> bool:
            """Whether they use no CPU any more, 20 looks long."""
            used.append(sum(sum(worker.cpu_times()[:2]) for worker in workers))
            return len(used) > 20 and used[-20] == used[-1]

        until(stuck, 10, "every worker waits")
        workers[0].kill()
    finally:
        watched.process.resume()

    lines = watched.results(job)

    failed = [line["error"] for line in lines if "error" in line]
    assert [(error["kind"], error["signal"]) for error in failed] in ([], [(CRASHED, "SIGKILL")])
    assert all(line["output"] == "x" * (4 << 20) for line in lines if "output" in line)
    watched.recovers()


# -- The end of the parent


def outliving(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still run a while later; who is dead and was not reaped yet by the system does not."""
    _, left = psutil.wait_procs(family, timeout=CLEAN_SECONDS_MAX)
    return [process for process in left if not is_dead(process)]


def is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("task", "item"), [(None, None), ("burn", 60_000), ("hold_gil", 60), ("fork_grandchild", 60)]
)
def test_nothing_outlives_a_killed_service(tmp_path: Path, task: str | None, item: object) -> None:
    """SIGKILL of the serving process: its zygote, workers and their children are gone soon after."""
    with serving(tmp_path, tasks=TASKS) as server, server.client() as api:
        watched = Watched(server, api)
        if task is not None:
            job = watched.submit(task, [item, item], chunksize=1)
            if task == "fork_grandchild":
                watched.ended(job)
            else:
                until(lambda: watched.job(job)["counts"]["running"] == 2, 5, "both run")
        family = watched.process.children(recursive=True)
        assert len(family) >= 3
        server.kill()
        alive = outliving(family)
        for process in alive:
            process.kill()
        assert alive == []
