"""The zygote, as the pool sees it.

Invariant: no call waits for the zygote, for it may be waiting for us; and its end is never unnoticed.
"""

import asyncio
import logging
import socket
from collections import deque
from typing import Protocol

from workers.control import receive, send
from workers.launcher import Launcher
from workers.postmortem import Exit

START_SECONDS_MAX = 60.0
RETRY_SECONDS_MAX = 10.0

log = logging.getLogger(__name__)


class PoolError(Exception):
    """The pool cannot start; the message says why."""


class Parent(Protocol):
    """Who hears what becomes of workers."""

    def forked(self, worker_id: int, pid: int, pidfd: int) -> None:
        """The worker runs; the pidfd is the hearer's to close."""
        ...

    def ended(self, worker_id: int, pid: int, exit_: Exit) -> None: ...

    def orphaned(self) -> None:
        """The zygote is gone, and every worker with it; `reborn` will follow."""
        ...

    def reborn(self) -> None:
        """There is a zygote again."""
        ...


class Forker:
    """Starts the zygote, asks it for workers, and starts it anew when it dies."""

    def __init__(self, parent: Parent, launcher: Launcher) -> None:
        self._parent = parent
        self._launcher = launcher
        self._requests: deque[tuple[int, socket.socket, int]] = deque()
        """Workers to fork, each with its end of the connection and its recorder."""
        self._closed = False
        self._again: asyncio.Task[None] | None = None
        """Starts another one."""

    async def start(self) -> None:
        """Return when the zygote has loaded the tasks.  PoolError with the reason, and no process, if it cannot."""
        self._loop = asyncio.get_running_loop()
        zygote = self._launcher.take()
        try:
            await self._await_ready(zygote.control)
        except BaseException:
            zygote.end()
            raise
        self._process, self._control = zygote.process, zygote.control
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._on_message)
        self._request()  # what was asked for while there was no zygote

    async def _await_ready(self, control: socket.socket) -> None:
        """PoolError if it does not come to that."""
        control.settimeout(START_SECONDS_MAX)
        try:
            answer = await self._loop.run_in_executor(None, receive, control)
        except TimeoutError:
            answer = None
        match answer:
            case ({"ready": True}, _):
                return
            case ({"failed": reason}, _):
                raise PoolError(f"the tasks cannot be loaded:\n{reason}")
            case _:
                raise PoolError(
                    "the process that loads the tasks ended before it was ready, or never was; its output may say why"
                )

    def fork(self, worker_id: int, connection: socket.socket, recorder_fd: int) -> None:
        """Have a worker serve the other end of `connection`, which is taken over; the recorder is not."""
        self._requests.append((worker_id, connection, recorder_fd))
        self._request()

    async def close(self) -> None:
        """End the zygote and its children."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        self._hang_up()
        await self._loop.run_in_executor(None, self._process.wait)

    def _request(self) -> None:
        try:
            while self._requests:
                worker_id, connection, recorder_fd = self._requests[0]
                send(self._control, {"fork": worker_id}, connection.fileno(), recorder_fd)
                connection.close()
                self._requests.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._control, self._request)
        except OSError:
            return  # the zygote is gone, which will be reported
        else:
            self._loop.remove_writer(self._control)

    def _on_message(self) -> None:
        try:
            message = receive(self._control)
        except BlockingIOError:
            return
        match message:
            case ({"forked": worker_id, "pid": pid}, [pidfd]):
                self._parent.forked(worker_id, pid, pidfd)
            case ({"ended": worker_id, "pid": pid, **how}, _):
                self._parent.ended(worker_id, pid, Exit(**how))
            case None:
                self._gone()
            case _:
                raise AssertionError(f"the zygote does not say {message!r}")

    def _gone(self) -> None:
        log.error("the process that forks the workers ended; starting another")
        self._hang_up()
        self._parent.orphaned()
        self._again = self._loop.create_task(self._start_again())

    def _hang_up(self) -> None:
        """Close the control socket, which ends the zygote, and it its children."""
        if self._control.fileno() >= 0:  # else it is gone already
            self._loop.remove_reader(self._control)
            self._loop.remove_writer(self._control)
            self._control.close()
        for _, connection, _ in self._requests:
            connection.close()
        self._requests.clear()

    async def _start_again(self) -> None:
        delay = 0.1
        while not self._closed:
            await self._loop.run_in_executor(None, self._process.wait)
            try:
                await self.start()
            except (PoolError, OSError) as error:
                log.error("no worker can be forked, for %s; trying again in %.1f s", error, delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)
            else:
                self._parent.reborn()
                return
