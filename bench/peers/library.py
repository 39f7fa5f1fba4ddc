"""What the comparison asks of a library, and how its workers are started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

WORKERS = 2
LIMIT_SECONDS = 1.0
"""The time limit of every item that may hang, where a library has one."""
REDIS = "PEER_REDIS"
"""The environment variable with the address of the broker."""
LONG = "PEER_LONG"
"""Set where items take long, for those whose manuals tell to be set up differently then."""


class Pending(Exception):
    """There is no outcome yet."""


class Failed(Exception):
    """The item failed; what its caller was told."""


class Library(Protocol):
    """Two workers, set up as the library's manual recommends."""

    def start(self) -> None:
        """Start the workers; they need not be ready."""
        ...

    def crash(self) -> None:
        """SIGKILL every process that runs items or keeps count of them, but a broker.  `start` may follow.

        What of it lives in the caller's own process is closed instead.
        """
        ...

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        """Hand items over one by one, and get something for each to ask after it."""
        ...

    def outcome(self, handle: Any, seconds: float) -> Any:
        """What came of an item; Failed if it failed, Pending if nothing came in this time."""
        ...

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        """All outputs in the order of the items, by whatever the library has for many."""
        ...


class Command:
    """A library's own command that runs workers, and what it has started."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._arguments], stdout=subprocess.DEVNULL, start_new_session=True
        )

    def crash(self) -> None:
        """SIGKILL it with all that it has started; RQ's workers have process groups of their own."""
        assert self._process is not None
        kill([self._process.pid, *below(self._process.pid)])
        self._process.wait()


def kill_below() -> None:
    """SIGKILL every process that this one has started, and theirs."""
    kill(below(os.getpid()))


def kill(pids: Iterable[int]) -> None:
    """SIGKILL these; not the standard library's resource trackers, which know of no items."""
    for pid in pids:
        with suppress(OSError):
            if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def below(pid: int) -> list[int]:
    """The ids of its children and theirs, by proc(5): not every environment has psutil."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # which grows meanwhile
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def redis_url(database: int = 0) -> str:
    """Of one of the broker's databases."""
    return f"{os.environ[REDIS]}/{database}"


def patient_redis_url(database: int = 0) -> str:
    """As `redis_url`, and waited for as long as the caller says: redis-py by itself would give up after seconds."""
    return f"{redis_url(database)}?socket_timeout=600"


def items_are_long() -> bool:
    return LONG in os.environ
