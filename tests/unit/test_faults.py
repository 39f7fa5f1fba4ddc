"""The tasks that go wrong do go wrong, each in its own way and no other."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from pydantic_core import PydanticSerializationError

from workers.task import TaskSpec
from workers.tasks.faults import crash_if, eat_memory, flaky, print_lines, risky, sleep_for, unserializable

HANG_SECONDS = 30


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code that starts with every fault imported, in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", f"from workers.tasks.faults import *\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
        cwd=Path(__file__).parents[2],
    )


def test_risky_takes_every_number_but_five() -> None:
    """One item of a range fails, always the same."""
    assert [risky(x) for x in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="5"):
        risky(5)


def test_burn_uses_the_cpu_time_it_is_told() -> None:
    """It is CPU time that counts: where it gets half a CPU, it takes twice as long."""
    code = """
import os, signal, time
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
rival = os.fork()
while rival == 0: pass
start = time.process_time()
burn(150)
print((time.process_time() - start) * 1000)
os.kill(rival, signal.SIGKILL)
"""
    assert 150 <= float(python(code).stdout) < 250


def test_exit_process_exits_with_its_code_and_cleans_nothing_up() -> None:
    """Neither `finally` nor exit handlers run."""
    result = python(
        "import atexit\natexit.register(print, 'bye')\ntry: exit_process(7)\nfinally: print('tidy')"
    )
    assert (result.returncode, result.stdout) == (7, "")


def test_segfault_is_a_real_one() -> None:
    """The kernel sends the signal, no exception is raised."""
    assert python("segfault()").returncode == -signal.SIGSEGV


def test_crash_if_dies_of_sigkill_at_the_bad_item_only() -> None:
    """Others pass through unharmed."""
    assert crash_if(1, 2) == 1
    assert python("crash_if(2, 2)").returncode == -signal.SIGKILL


SIGNALLED_AFTER_50_MS = """
import signal, time
class Called(Exception): ...
def handler(*_):
    raise Called
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
start = time.monotonic()
try:
    {call}
except Called:
    print(time.monotonic() - start)
"""


def test_a_sleeping_task_can_be_interrupted() -> None:
    """A Python signal handler runs, so a soft timeout ends it."""
    assert float(python(SIGNALLED_AFTER_50_MS.format(call="sleep_for(20)")).stdout) < 10


def test_a_task_that_holds_the_interpreter_lock_cannot_be_interrupted() -> None:
    """Neither a signal's handler nor another thread gets a turn before it is done."""
    threaded = """
import threading
ticks = []
threading.Timer(0.05, lambda: ticks.append(time.monotonic())).start()
"""
    code = SIGNALLED_AFTER_50_MS.format(call="hold_gil(0.4)") + "time.sleep(0)\n"
    result = python(
        f"import time\n{threaded}{code}\nwhile not ticks: time.sleep(0.01)\nprint(ticks[0] - start)"
    )
    handled_after, ticked_after = map(float, result.stdout.split())
    assert handled_after >= 0.39
    assert ticked_after >= 0.39


def test_eat_memory_touches_every_page() -> None:
    """The process really grows by what it is told."""
    # Not getrusage: its peak is inherited from the process that started this one.
    code = "peak = lambda: int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
    result = python(f"{code}before = peak()\neat_memory(200)\nprint((peak() - before) / 1024)")
    assert 190 < float(result.stdout) < 230
    assert eat_memory(1) == 1


def test_a_hostile_error_tells_nothing_of_itself() -> None:
    """Printing, pickling, naming its class and reading its traceback raise, and not even an `Exception`."""
    code = """
import pickle, sys, traceback
ways = (
    str, repr, pickle.dumps, traceback.format_exception, lambda e: e.__traceback__, lambda e: e.__class__,
    lambda e: type(e).__name__, lambda e: type(e).__qualname__, lambda e: type(e).__module__,
    lambda e: repr(type(e)), lambda e: e.args, lambda e: setattr(e, "__traceback__", None),
)
try:
    hostile_error()
except BaseException as error:
    for way in ways:
        try:
            way(error)
        except Exception: print("tame")
        except BaseException: print("hostile")
        else: print("helpful")
"""
    result = python(code)
    assert result.stdout.split() == ["hostile"] * 12, result.stderr


def test_an_unserializable_output_has_no_form_in_json() -> None:
    """It is the output that is at fault, after the task itself went well."""
    with pytest.raises(PydanticSerializationError):
        TaskSpec.of(unserializable).output.dump_json(unserializable())


def test_print_lines_prints_as_many_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbered, so that a test sees which were kept."""
    assert print_lines(3) == 3
    assert capsys.readouterr().out == "line 1 of 3\nline 2 of 3\nline 3 of 3\n"


def test_a_grandchild_outlives_the_task() -> None:
    """Its id comes back at once, and it is alive until someone ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from workers.tasks.faults import *\nprint(fork_grandchild(60), flush=True)"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.wait(HANG_SECONDS) == 0
        os.kill(pid, signal.SIGTERM)


def test_a_grandchild_never_goes_on_as_a_second_worker() -> None:
    """Once it has slept it is gone, and what comes after the task runs once."""
    assert len(python("print(fork_grandchild(0)); import os; os.wait()").stdout.split()) == 1


@pytest.fixture
def own_tempdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory for temporary files that goes away, in child processes too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.usefixtures("own_tempdir")
def test_flaky_fails_as_often_as_told_then_succeeds() -> None:
    """Attempts are counted for each token by itself."""
    for attempt in (1, 2):
        with pytest.raises(RuntimeError, match=f"attempt {attempt} fails"):
            flaky("a", 2)
    assert flaky("a", 2) == 3
    assert flaky("b", 0) == 1


@pytest.mark.usefixtures("own_tempdir")
def test_flaky_counts_across_processes() -> None:
    """No two attempts get the same number, even when they are made at the same moment."""
    with ProcessPoolExecutor(4, get_context("spawn")) as processes:
        attempts = list(processes.map(flaky, ["a"] * 200, [0] * 200))
    assert sorted(attempts) == list(range(1, 201))


def test_a_short_sleep_gives_its_length_back() -> None:
    """The output tells which item it was."""
    start = time.monotonic()
    assert sleep_for(0.01) == 0.01
    assert time.monotonic() - start >= 0.01
