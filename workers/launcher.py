"""Starts zygotes, and tells them which tasks to load.

Invariant: nothing else is imported here: the zygote loads the tasks on one core while its parent imports what serves on
another.
"""

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workers.control import send
from workers.files import Blobs
from workers.limits import ChildLimits
from workers.wire import MEMORY_BYTES

Begun = tuple[subprocess.Popen[bytes], socket.socket]
"""A zygote that waits to be told, and our end of its control socket."""


@dataclass(frozen=True, slots=True)
class ZygoteSettings:
    """What the zygote is told first."""

    modules: tuple[str, ...]
    files: str
    durable_files: bool
    limits: ChildLimits

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "ZygoteSettings":
        """As they were dumped."""
        modules, limits = tuple(told["modules"]), ChildLimits(**told["limits"])
        return cls(modules, told["files"], told["durable_files"], limits)

    def dump(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Launched:
    """A zygote that was told, and our end of its control socket."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def end(self) -> None:
        self.process.kill()  # which also ends the waiting for its answer
        self.process.wait()
        self.control.close()


class Launcher:
    """Has zygotes load these tasks, one after the other, for one pool; `begin` makes one."""

    def __init__(
        self, modules: Iterable[str], blobs: Blobs, limits: ChildLimits, begin: Callable[[], Begun]
    ) -> None:
        self._settings = ZygoteSettings(tuple(modules), str(blobs.directory), blobs.durable, limits)
        self._begin = begin
        self.memory_fd = os.memfd_create("marks")
        """What its workers share with the pool (`wire.Marks`)."""
        os.ftruncate(self.memory_fd, MEMORY_BYTES)
        self._waiting: Launched | None = None

    def launch(self, begun: Begun) -> None:
        """Have this zygote, which is ours now, load the tasks for whoever takes it."""
        self._waiting = Launched(*begun)
        with contextlib.suppress(OSError):  # if it is gone, who waits for its answer hears of it
            send(self._waiting.control, self._settings.dump(), self.memory_fd)

    def take(self) -> Launched:
        """The zygote that was launched, or else another; it is the taker's to end."""
        if self._waiting is None:
            self.launch(self._begin())
        assert self._waiting is not None
        taken, self._waiting = self._waiting, None
        return taken

    def close(self) -> None:
        """End a zygote that nobody took; no other can be launched."""
        if self._waiting is not None:
            self.take().end()
        if self.memory_fd >= 0:
            os.close(self.memory_fd)
            self.memory_fd = -1
