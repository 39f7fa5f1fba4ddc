"""Tasks of which many run together only if nobody can tell."""

import ctypes
import faulthandler
import functools
import os
import signal
import sys
import tempfile
import time
from typing import Annotated, Any

from pydantic import AfterValidator

from workers import report_progress, task
from workers.blackbox import own_frames
from workers.interrupt import SIGNAL

_kept: list[Any] = []


_strike = ctypes.PyDLL(None)["raise"]
_strike.restype = ctypes.c_bool


class _Struck:
    """Asking whether it is true sends this process a signal, for which Python looks only after what is asking."""

    __bool__ = functools.partial(_strike, int(SIGNAL))


_struck = _Struck()


class _Seven(int):
    """An int to whoever asks, but what is written of it is its own affair, and may raise."""

    def __repr__(self) -> str:
        raise ValueError("seven has no form")

    __str__ = __repr__


def _die_of_thirteen(value: int) -> int:
    if value == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


Careful = Annotated[int, AfterValidator(_die_of_thirteen)]


def _raise(value: str) -> None:
    raise ValueError(value)


@task
def turned(value: Any) -> Any:
    """An output of whatever kind the item says."""
    match value:
        case "nan":
            return float("nan")
        case "surrogate":
            return "\ud800"
        case "object":
            return object()
        case "exit":
            raise SystemExit(3)
        case "wrong":
            raise ValueError(value)
        case "deep":
            _raise(value)
        case "print":
            sys.stdout.write(value)
        case "stderr":
            os.write(2, b"from C")
        case "print and raise":
            sys.stdout.write(value)
            raise KeyError(value)
        case "slow":
            time.sleep(0.002)
        case "flush":
            time.sleep(0.03)
        case "same":
            _kept.append(len(_kept) % 3)
            del _kept[:-3]
            return _kept
        case "set":
            return {1}
        case "progress":
            report_progress(1.0)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            report_progress(0.0, "asleep")
            time.sleep(20)
        case "seven":
            return _Seven(7)
        case "stop":
            return next(iter(()))
        case "interrupt":
            raise KeyboardInterrupt
        case "leave":
            raise GeneratorExit
        case "struck":
            return None if _struck else value
        case "forget":
            _kept.clear()
    return value


@task
def named(times: int, value: Any, note: str | None = None) -> Any:
    """By name, or by position, what `turned` makes of the value."""
    if note is not None:
        sys.stdout.write(note)
    return turned(value) if times == 1 else [turned(value)] * times


@task
def emptied(value: Any) -> int:
    """Nothing is left of the item."""
    value.clear()
    return 0


@task
def careful(value: Careful, x: int = 1) -> int:
    """An argument whose validation runs code of the task's."""
    return value * x


@task
def nothing() -> int:
    """No input at all."""
    return 0


@task
def halved(x: float, digits: int = 0) -> float:
    """A float of whatever can be one."""
    return round(x / 2, digits) if digits else x / 2


@task
def counted(text: str) -> int:
    return len(text)


@task
def maybe(x: int | None) -> bool | None:
    return None if x is None else x > 0


@task
def recursing(depth: int) -> int:
    """Deeper than the interpreter goes, if it is told so."""
    return 0 if depth == 0 else 1 + recursing(depth - 1)


@task
def doubled(x: int) -> int:
    """Writes to the real stdout while it is at it."""
    if x % 7 == 0:
        sys.stdout.write(str(x))
    return 2 * x


@task
def standing(x: int, y: int = 0) -> str:
    """What would be told of where this item stood, had it ended its process."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=False)
        file.seek(0)
        return own_frames(file.read().decode())


@task
def print_for_ever(value: int) -> int:
    """Not the same every time, and so fast that a file of it would soon be large."""
    while True:
        print(f"{value} " * 1_000)  # noqa: T201 -- users' tasks print
        value += 1
