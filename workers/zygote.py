"""The process that forks the workers: `python -m workers.zygote CONTROL_FD`.

How it works: it imports the task modules once, freezes them in memory, and then forks a worker, in
milliseconds, for each request on its control socket.  It is single-threaded for ever, which makes forking
safe; the serving process, which has threads, never forks.  It tells how each worker ended.

What it is told and tells is in `workers.control`.

Invariant: when the service is gone, however it went, so is the zygote and every worker.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import mmap
import os
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from workers.blackbox import Recorder
from workers.child import prepare_process, serve
from workers.control import MESSAGE_BYTES_MAX, receive, send
from workers.files import Blobs
from workers.launcher import ZygoteSettings
from workers.limits import WORKER_ENVIRONMENT
from workers.plugins import spare_plugins
from workers.task import TaskDefinitionError, TaskSpec, discover

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl
"""Looked up before the first fork: what a worker touches first, it gets a copy of."""


class Zygote:
    def __init__(
        self,
        settings: ZygoteSettings,
        memory_fd: int,
        specs: dict[str, TaskSpec],
        described: bytes,
        control: socket.socket,
    ) -> None:
        self._blobs = Blobs(Path(settings.files), durable=settings.durable_files)
        self._limits = settings.limits
        self._specs = specs
        self._described = described
        self._control = control
        self._memory = mmap.mmap(memory_fd, 0)
        self._pid = os.getpid()
        self._children: dict[int, int] = {}
        self._stopped: dict[int, int] = {}
        """The signals that stopped children, until their end is told."""
        self._child_fds: list[int] = []

    def run(self) -> NoReturn:
        """Say that it is ready; then fork and report until the service hangs up."""
        self._tell({"ready": True})
        wake_read, wake_write = os.pipe()
        for fd in (wake_read, wake_write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._child_fds = [wake_read, wake_write, self._control.fileno()]
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            self._child_fds.append(selector.fileno())
            while True:
                for key, _ in selector.select():
                    if key.fd == wake_read:
                        os.read(wake_read, 4096)
                        self._reap()
                    elif (request := receive(self._control)) is None:
                        self._leave()
                    else:
                        message, (connection_fd, recorder_fd) = request
                        self._fork(message["fork"], connection_fd, recorder_fd)

    def _fork(self, worker_id: int, connection_fd: int, recorder_fd: int) -> None:
        try:
            pid = os.fork()
        except OSError:  # no process, or no memory for one, is left: this one worker is not to be
            os.close(connection_fd)
            os.close(recorder_fd)
            self._tell({"ended": worker_id, "pid": None, "status": os.EX_OSERR})
            return
        if pid == 0:
            self._become_worker(worker_id, connection_fd, recorder_fd)
        os.close(connection_fd)
        os.close(recorder_fd)
        self._children[pid] = worker_id
        pidfd = os.pidfd_open(pid)
        self._tell({"forked": worker_id, "pid": pid}, pidfd)
        os.close(pidfd)

    def _become_worker(self, worker_id: int, connection_fd: int, recorder_fd: int) -> NoReturn:
        status = 70  # EX_SOFTWARE
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with_parent(self._pid)
            for fd in self._child_fds:
                os.close(fd)
            recorder = Recorder(recorder_fd)
            prepare_process(recorder)
            connection = socket.socket(fileno=connection_fd)
            serve(
                connection,
                recorder,
                self._memory,
                worker_id,
                self._specs,
                self._described,
                self._blobs,
                self._limits,
            )
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Report every child that ended, and end what it left behind in its process group."""
        while self._children:
            # Look before reaping: until then the dead child's pid, and so its group's number, is nobody else's.
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            if found.si_code == os.CLD_STOPPED:
                # A stopped worker would keep its item for ever; its death will be the next thing to be seen.
                os.waitid(os.P_PID, found.si_pid, os.WSTOPPED | os.WNOHANG)
                self._stopped[found.si_pid] = found.si_status
                os.kill(found.si_pid, signal.SIGKILL)
                continue
            with contextlib.suppress(OSError):
                os.killpg(found.si_pid, signal.SIGKILL)
            pid, status, usage = os.wait4(found.si_pid, 0)
            worker_id = self._children.pop(pid, None)
            if worker_id is not None:
                code = os.waitstatus_to_exitcode(status)
                report = {
                    "ended": worker_id,
                    "pid": pid,
                    "status": code,
                    "max_rss_bytes": usage.ru_maxrss * 1024,
                    "cpu_seconds": usage.ru_utime + usage.ru_stime,
                    "stopped_by": self._stopped.pop(pid, None),
                }
                self._tell(report)

    def _tell(self, message: dict[str, Any], *fds: int) -> None:
        try:
            send(self._control, message, *fds)
        except OSError:
            self._leave()

    def _leave(self) -> NoReturn:
        for pid in self._children:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        os._exit(0)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies (prctl(2)).

    Safe only under a single-threaded parent: the signal follows the parent's thread, not its process.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(1)


def main() -> NoReturn:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spare_plugins()
    if (told := receive(control)) is None:
        sys.exit(0)
    message, (memory_fd,) = told
    settings = ZygoteSettings.of(message)
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        specs = discover(settings.modules)
        # Once, here: it takes 2 MiB, of which a worker would have a copy to itself.
        described = json.dumps([spec.describe() for spec in specs.values()]).encode()
        if any(spec.is_coroutine for spec in specs.values()):
            importlib.import_module("workers.coroutines")  # with asyncio: 2 MiB that others do without
    except TaskDefinitionError:
        send(control, {"failed": traceback.format_exc()[-MESSAGE_BYTES_MAX // 4 :]})
        sys.exit(1)
    # What imports leave has been looked for while they ran: to look at everything once more finds next to nothing.
    gc.disable()
    gc.freeze()
    Zygote(settings, memory_fd, specs, described, control).run()


if __name__ == "__main__":
    main()
