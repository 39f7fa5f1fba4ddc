"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")

_POLL_SECONDS = 0.005


def eventually(
    look: Callable[[], T | None], seconds: float, what: str, poll_seconds: float = _POLL_SECONDS
) -> T:
    """What `look` finds, as soon as it finds something; an AssertionError that names `what` after the time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(poll_seconds)
    return found


def eventually_moving(
    look: Callable[[], T | None],
    moved: Callable[[], object],
    seconds: float,
    what: str,
    poll_seconds: float = _POLL_SECONDS,
) -> T:
    """What `look` finds; an AssertionError that names `what` once `moved` has said the same for so long.

    For what has no time of its own, as it depends on what else the machine does, but is seen to go on.
    """
    deadline, last = time.monotonic() + seconds, moved()
    while not (found := look()):
        if (now := moved()) != last:
            deadline, last = time.monotonic() + seconds, now
        assert time.monotonic() < deadline, f"not within {seconds} s after {last}: {what}"
        time.sleep(poll_seconds)
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that only waits to be reaped does not."""
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
