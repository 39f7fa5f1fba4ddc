"""Tasks for crash tests: every fault among good items of one task, and what only a test would do."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from workers import task
from workers.tasks import faults

MIB = 1 << 20


@task
def large(mib: int) -> str:
    """Give back that many mebibytes."""
    return "x" * (mib * MIB)


@task
def die_while_sending(mib: int) -> str:
    """Give back so much that it takes a while to send, and be killed in the middle of that."""
    main = threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        while sys._current_frames()[main].f_code.co_name != "_send":
            time.sleep(0.0001)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return large(mib)


@task
def fork_and_exit(seconds: float) -> None:
    """Leave a process behind that holds what the worker has open, and end the worker."""
    faults.fork_grandchild(seconds)
    os._exit(4)


@task
def abort() -> None:
    os.abort()


@task
def raise_by_name(name: str) -> None:
    """Raise one of those that are no `Exception`."""
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}[
        name
    ]


@task
def deaf(seconds: float) -> None:
    """Ignore the signal that should end it."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    time.sleep(seconds)


@task
def stubborn(seconds: float) -> None:
    """Swallow whatever should end it, and go on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(BaseException):
            time.sleep(seconds)


@task
def scribble() -> None:
    """Write what is no frame to every socket that is open."""
    for fd in _sockets():
        with contextlib.suppress(OSError):
            os.write(fd, b"\xff" * 4096)
    time.sleep(30)


@task
def close_sockets() -> None:
    """Close the worker's connection under its feet."""
    for fd in _sockets():
        os.close(fd)


@task
def spin(x: int, ms: float = 1.0) -> int:
    """x squared, after a while of work."""
    until = time.perf_counter() + ms / 1e3
    while time.perf_counter() < until:
        pass
    return x * x


@task
def either(x: int, fault: str | None = None, arguments: list[Any] | None = None) -> Any:
    """x squared; or a fault, by its name."""
    return x * x if fault is None else FAULTS[fault](*(arguments or []))


OWN = (abort, close_sockets, deaf, die_while_sending, fork_and_exit, raise_by_name, scribble, stubborn)
FAULTS: Mapping[str, Callable[..., Any]] = {function.__name__: function for function in OWN} | {
    name: function for name, function in vars(faults).items() if hasattr(function, "__millpond_task__")
}


def _sockets() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- numbers, not paths
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as copy:
            if copy.family == socket.AF_UNIX:
                found.append(int(name))
    return found
