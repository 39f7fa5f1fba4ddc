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


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that only waits to be reaped does not."""
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
