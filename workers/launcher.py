"""The zygote's process, begun before there is an event loop to ask it for workers.

Invariant: what is not needed to begin it is not imported here: the zygote loads the tasks on one core while its parent
imports what serves on another.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from workers.files import Blobs
from workers.limits import WORKER_ENVIRONMENT, ChildLimits
from workers.wire import MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class ZygoteSettings:
    """What the zygote is started with, as its one argument."""

    control_fd: int
    memory_fd: int
    modules: tuple[str, ...]
    files: str
    durable_files: bool
    limits: ChildLimits

    @classmethod
    def load(cls, dumped: str) -> "ZygoteSettings":
        told = json.loads(dumped)
        modules, limits = tuple(told.pop("modules")), ChildLimits(**told.pop("limits"))
        return cls(modules=modules, limits=limits, **told)

    def dump(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Launched:
    """A zygote that loads the tasks, and our end of its control socket."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def end(self) -> None:
        self.process.kill()  # which also ends the waiting for its answer
        self.process.wait()
        self.control.close()


class Launcher:
    """Starts zygotes that load these tasks, one after the other, for one pool."""

    def __init__(self, modules: Iterable[str], blobs: Blobs, limits: ChildLimits) -> None:
        self._modules = tuple(modules)
        self._blobs = blobs
        self._limits = limits
        self.memory_fd = os.memfd_create("marks")
        """What its workers share with the pool (`wire.Marks`)."""
        os.ftruncate(self.memory_fd, MEMORY_BYTES)
        self._waiting: Launched | None = None

    def launch(self) -> None:
        """Have a zygote load the tasks for whoever takes it."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._waiting = Launched(self._popen(theirs.fileno()), control)

    def take(self) -> Launched:
        """The zygote that was launched, or else another; it is the taker's to end."""
        if self._waiting is None:
            self.launch()
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

    def _popen(self, control_fd: int) -> subprocess.Popen[bytes]:
        files, durable = str(self._blobs.directory), self._blobs.durable
        settings = ZygoteSettings(control_fd, self.memory_fd, self._modules, files, durable, self._limits)
        return subprocess.Popen(
            [sys.executable, "-m", "workers.zygote", settings.dump()],
            pass_fds=(control_fd, self.memory_fd),
            stdin=subprocess.DEVNULL,
            env=WORKER_ENVIRONMENT | os.environ,
            start_new_session=True,
        )
