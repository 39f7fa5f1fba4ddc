"""`python -m tests.watched`: the service, which says on its log what held its event loop.

How it works: the CPU time of the loop's thread is read before and after each callback; to it a machine that stands
still, or works for others, adds nothing.  The limit grows with what a known piece of work takes here, so that a slow
machine is not taken for slow code.  What waits uses no CPU: of that Python tells itself (audit events) what opens
files, sleeps, starts processes or asks the network.  Any other wait, for a disk, a lock, or a thread that keeps the
interpreter, is what is left of a callback's time without the CPU that it used, and without the time in which threads
of the service were ready to run and had no processor.  That is taken too large rather than too small: a wait that is
told was one, but not every wait is told.

The loop is asyncio's own, not uvloop: its callbacks can be seen.  Of a callback in which Python looked for garbage it
is said how long that took, for it is then that which is to be looked into.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

HELD_SECONDS_MAX = 0.020
WAITED_SECONDS_MAX = 0.5
"""More than the host of a virtual machine keeps it from running without saying so, which was 0.1 once in a while."""
DELAYS_SECONDS = 0.020
"""How old what was read of the threads may be."""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_KNOWN_SECONDS = 0.004
"""What `_known_work` takes on a machine that is fast enough."""
_OPENING = frozenset({"open", "os.listdir", "os.scandir"})
"""Audit events (docs.python.org/3.11/library/audit_events.html) of what is opened, by imports as well."""
_WAITS = frozenset(
    {
        "fcntl.flock",
        "fcntl.lockf",
        "glob.glob",
        "pathlib.Path.glob",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.getnameinfo",
        "sqlite3.connect",
        "subprocess.Popen",
        "time.sleep",
    }
)
"""Those of what else may take long; and those of `_WAITING`."""
_WAITING = ("os.", "shutil.", "tempfile.")
_QUICK = frozenset({"os.putenv", "os.unsetenv"})


def _known_work() -> float:
    """The CPU seconds of it, the least of five times."""

    def once() -> float:
        began = time.thread_time()
        total = 0
        for n in range(150_000):
            total += n
        return time.thread_time() - began

    return min(once() for _ in range(5))


class _Collected:
    """The CPU seconds that looking for garbage has taken, on whichever thread it was."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __call__(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.seconds += time.thread_time() - self._began


class _Delays:
    """The seconds that threads of this process were ready to run and had no processor (proc(5), schedstat).

    And those in which the machine's own processors were others' (stat, steal).
    """

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._seconds = 0.0
        self.known = Path("/proc/self/schedstat").exists()

    def begin(self, now: float) -> None:
        if now - self._read_at > DELAYS_SECONDS:
            self._seconds, self._read_at = self._read(), now

    def since(self) -> float:
        """Those since `begin`, and perhaps some of before."""
        return self._read() - self._seconds

    def _read(self) -> float:
        total = 0
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # it has just ended
                total += int((task / "schedstat").read_text().split()[1])
        stolen = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
        return total / 1e9 + stolen / _TICKS_PER_SECOND


class _Loop(threading.local):
    """Whether this thread is the watched loop's, which runs a callback."""

    turning = False


_loop = _Loop()


def _tell_waits(event: str, arguments: tuple[object, ...]) -> None:
    """What the loop opens or waits for holds it for as long as others like, which its CPU time does not show."""
    if not _loop.turning:
        return
    if event in _OPENING:
        sys.stderr.write(f"the loop opened {arguments[0]!r}\n")
    elif event == "os.truncate" and isinstance(arguments[0], int):
        pass  # what is open already: on the loop that is memory that it shares with a worker
    elif event in _WAITS or (event.startswith(_WAITING) and event not in _QUICK):
        sys.stderr.write(f"the loop waited for {event} {arguments!r}\n")


def watch() -> None:
    """Say of each callback that uses more than the limit how much it used, in units of the limit's milliseconds.

    Also how long one waited, if that is more than `WAITED_SECONDS_MAX`, and which files are opened in one.
    """
    slowness = max(1.0, _known_work() / _KNOWN_SECONDS)
    run = asyncio.Handle._run
    collected, delays = _Collected(), _Delays()
    gc.callbacks.append(collected)

    sys.addaudithook(_tell_waits)
    sleep = time.sleep

    def audited_sleep(seconds: float) -> None:
        sys.audit("time.sleep", seconds)  # as Python does itself from 3.13 on
        sleep(seconds)

    time.sleep = audited_sleep  # type: ignore[assignment]

    def watched(handle: asyncio.Handle) -> None:
        if threading.current_thread() is not threading.main_thread():  # another loop, which holds up nobody
            run(handle)
            return
        began_at = time.monotonic()
        delays.begin(began_at)
        began, collecting = time.thread_time(), collected.seconds
        _loop.turning = True
        run(handle)
        _loop.turning = False
        used = time.thread_time() - began
        what = getattr(handle._callback, "__self__", handle)  # type: ignore[attr-defined]
        if used / slowness > HELD_SECONDS_MAX:
            garbage = collected.seconds - collecting
            told = f"{used / slowness * 1000:.1f} ms, {garbage / slowness * 1000:.1f} of it for garbage"
            sys.stderr.write(f"held the loop for {told}: {what!r}\n")
        waited = time.monotonic() - began_at - used
        if waited > WAITED_SECONDS_MAX and delays.known:
            waited -= delays.since()
            if waited > WAITED_SECONDS_MAX:
                sys.stderr.write(f"the loop waited {waited * 1000:.1f} ms in {what!r}\n")

    asyncio.Handle._run = watched  # type: ignore[method-assign, assignment]  # typeshed names its self twice


if __name__ == "__main__":
    from uvicorn.config import LOOP_FACTORIES

    from app.__main__ import main

    LOOP_FACTORIES["uvloop"] = LOOP_FACTORIES["asyncio"]
    watch()
    sys.exit(main())
