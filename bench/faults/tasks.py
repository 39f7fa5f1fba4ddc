"""The one function that every library runs: good items, and a bad one that goes wrong in the way it is told.

Imported by the workers of all libraries.  The bad item first leaves its process id and the time in a file, so
that whoever watches knows whom to stop, and since when.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from workers import task

ITEMS = 40
BAD = 17
ITEM_SECONDS = 0.005
LONG_SECONDS = 60.0
EXIT_CODE = 43
MOMENTS_FILE = "FAULT_MOMENTS"
"""The environment variable that names the file."""


class TwoArguments(Exception):
    """Pickles, but does not unpickle: that calls it with the one argument it gave to `Exception`."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"no answer from {host}:{port}")


class Unpicklable(Exception):
    """Holds something that no other process can have."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


def _exit() -> NoReturn:
    os._exit(EXIT_CODE)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault() -> None:
    ctypes.string_at(0)


def _two_arguments() -> NoReturn:
    raise TwoArguments("10.0.0.1", 5432)


def _unpicklable() -> NoReturn:
    raise Unpicklable("the session is over")


def _system_exit() -> NoReturn:
    raise SystemExit("nothing left to do")


def _sleep() -> None:
    time.sleep(LONG_SECONDS)


def _hold_gil() -> None:
    ctypes.PyDLL(None).sleep(int(LONG_SECONDS))  # PyDLL, unlike CDLL, keeps the interpreter lock


MISDEEDS: Mapping[str, Callable[[], object]] = {
    "exit": _exit,
    "kill": _kill,
    "segfault": _segfault,
    "two-arguments": _two_arguments,
    "unpicklable": _unpicklable,
    "result": threading.Lock,
    "system-exit": _system_exit,
    "sleep": _sleep,
    "hold-gil": _hold_gil,
}


@task
def item(x: int, misdeed: str) -> Any:
    """Give x squared and the worker's process id, after a moment; where x is the bad one, do the misdeed."""
    if x == BAD and misdeed:
        with Path(os.environ[MOMENTS_FILE]).open("a") as moments:
            moments.write(f"{os.getpid()} {time.monotonic()}\n")
        return MISDEEDS[misdeed]()
    time.sleep(ITEM_SECONDS)
    return [x * x, os.getpid()]
