"""Tasks that go wrong in every way we know of, so that tests and benchmarks can ask for it.

Loaded only where it is named (`workers.tasks.faults`): any caller could end a worker with it.
"""

import ctypes
import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from workers import task

MIB = 1 << 20


@task
def burn(ms: float) -> float:
    """Use CPU for this long, measured in CPU time of the process; gives back the milliseconds it used."""
    start = time.process_time()
    while (used := (time.process_time() - start) * 1000) < ms:
        pass
    return used


@task
def risky(x: int) -> int:
    """Give x back, unless it is 5."""
    if x == 5:
        raise ValueError("5 is the one number this task does not take")
    return x


@task
def exit_process(code: int) -> None:
    """End the worker at once, with this exit code and no clean-up."""
    os._exit(code)


@task
def segfault() -> None:
    """Read address 0: the kernel ends the worker with SIGSEGV."""
    ctypes.string_at(0)


@task
def sleep_for(seconds: float) -> float:
    """Sleep, as a task that waits does: signal handlers run."""
    time.sleep(seconds)
    return seconds


@task
def hold_gil(seconds: float) -> float:
    """Stay in one C call that keeps the interpreter lock: no other thread and no Python signal handler runs.

    It locks a mutex twice, with a deadline.  A sleeping call would not do: a signal ends it early (EINTR),
    while pthread_mutex_timedlock(3) goes on waiting after the C handler has run.
    """
    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(
        256
    )  # all zero is PTHREAD_MUTEX_INITIALIZER, and 256 more than any needs
    until, nanoseconds = divmod(time.time_ns() + int(seconds * 1e9), 10**9)
    deadline = (ctypes.c_long * 2)(until, nanoseconds)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, deadline)
    return seconds


@task
def eat_memory(mib: int) -> int:
    """Hold this much memory at once, every page written to, a mebibyte at a time."""
    blocks = [b"\x01" * MIB for _ in range(mib)]
    return len(blocks)


@task
def hostile_error() -> None:
    """Raise an exception that neither prints nor pickles, nor tells its class or its traceback."""

    def refuse(*_: object) -> NoReturn:
        raise SystemExit("hostile_error: not even this")

    class HostileType(type):
        """The type of a class that has no name: even `type(error).__name__` raises."""

        __getattribute__ = __repr__ = refuse

    # It is local because, in the module, it would raise at whoever looks for tasks there.
    class Hostile(BaseException, metaclass=HostileType):
        __getattribute__ = __setattr__ = __repr__ = __str__ = __reduce_ex__ = refuse

    raise Hostile


@task
def unserializable() -> Any:
    """Return something that JSON has no form for."""
    return object()


@task
def print_lines(n: int) -> int:
    """Print n lines to standard output."""
    sys.stdout.writelines(f"line {number} of {n}\n" for number in range(1, n + 1))
    return n


@task
def fork_grandchild(seconds: float) -> int:
    """Leave a process behind that sleeps on and holds what the worker has open; gives back its id at once."""
    if pid := os.fork():
        return pid
    try:
        time.sleep(seconds)
    finally:
        os._exit(0)  # whatever woke it: this copy of the worker must never go on as one


@task
def flaky(token: str, fail_times: int) -> int:
    """Fail the first `fail_times` times this token is given, in any process; then the attempt's number."""
    name = f"millpond-flaky-{os.getuid()}-{hashlib.sha256(token.encode()).hexdigest()}"
    # A write in append mode moves the position to its own end: every attempt learns its number, no lock.
    with (Path(tempfile.gettempdir()) / name).open("ab", buffering=0) as attempts:
        attempts.write(b".")
        attempt = attempts.tell()
    if attempt <= fail_times:
        raise RuntimeError(f"attempt {attempt} fails, as the first {fail_times} are told to")
    return attempt


@task
def crash_if(x: int, bad: int) -> int:
    """Give x back; where it is the bad one, die of SIGKILL as if the kernel had run out of memory."""
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x
