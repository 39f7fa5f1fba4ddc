"""`python -m tests.watched`: the service, which says on its log what held its event loop.

How it works: the CPU time of the loop's thread is read before and after each callback; to it a machine that stands
still, or works for others, adds nothing.  The limit grows with what a known piece of work takes here, so that a slow
machine is not taken for slow code.  The loop is asyncio's own, not uvloop: its callbacks can be seen.  Of a callback in
which Python looked for garbage it is said how long that took, for it is then that which is to be looked into.
"""

import asyncio
import gc
import sys
import threading
import time

HELD_SECONDS_MAX = 0.020
_KNOWN_SECONDS = 0.004
"""What `_known_work` takes on a machine that is fast enough."""


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


class _Loop(threading.local):
    """Whether this thread is the watched loop's, which runs a callback."""

    turning = False


_loop = _Loop()


def _tell_opened(event: str, arguments: tuple[object, ...]) -> None:
    """What the loop opens holds it for as long as the disk likes, which its CPU time does not show."""
    if event == "open" and _loop.turning:
        sys.stderr.write(f"the loop opened {arguments[0]!r}\n")


def watch() -> None:
    """Say of each callback that uses more than the limit how much it used, in units of the limit's milliseconds.

    And which files are opened in one.
    """
    slowness = max(1.0, _known_work() / _KNOWN_SECONDS)
    run = asyncio.Handle._run
    collected = _Collected()
    gc.callbacks.append(collected)

    sys.addaudithook(_tell_opened)

    def watched(handle: asyncio.Handle) -> None:
        if threading.current_thread() is not threading.main_thread():  # another loop, which holds up nobody
            run(handle)
            return
        began, collecting = time.thread_time(), collected.seconds
        _loop.turning = True
        run(handle)
        _loop.turning = False
        used = (time.thread_time() - began) / slowness
        if used > HELD_SECONDS_MAX:
            what = getattr(handle._callback, "__self__", handle)  # type: ignore[attr-defined]
            garbage = (collected.seconds - collecting) / slowness
            sys.stderr.write(
                f"held the loop for {used * 1000:.1f} ms, {garbage * 1000:.1f} of it for garbage: {what!r}\n"
            )

    asyncio.Handle._run = watched  # type: ignore[method-assign, assignment]  # typeshed names its self twice


if __name__ == "__main__":
    from uvicorn.config import LOOP_FACTORIES

    from app.__main__ import main

    LOOP_FACTORIES["uvloop"] = LOOP_FACTORIES["asyncio"]
    watch()
    sys.exit(main())
