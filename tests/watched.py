"""`python -m tests.watched`: the service, which says on its log what held its event loop.

How it works: the CPU time of the loop's thread is read before and after each callback; to it a machine that stands
still, or works for others, adds nothing.  The limit grows with what a known piece of work takes here, so that a slow
machine is not taken for slow code.  The loop is asyncio's own, not uvloop: its callbacks can be seen.
"""

import asyncio
import sys
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


def watch() -> None:
    """Say of each callback that uses more than the limit how much it used, in units of the limit's milliseconds."""
    slowness = max(1.0, _known_work() / _KNOWN_SECONDS)
    run = asyncio.Handle._run

    def watched(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        used = (time.thread_time() - began) / slowness
        if used > HELD_SECONDS_MAX:
            sys.stderr.write(f"held the loop for {used * 1000:.1f} ms: {handle!r}\n")

    asyncio.Handle._run = watched  # type: ignore[method-assign, assignment]  # typeshed names its self twice


if __name__ == "__main__":
    from uvicorn.config import LOOP_FACTORIES

    from app.__main__ import main

    LOOP_FACTORIES["uvloop"] = LOOP_FACTORIES["asyncio"]
    watch()
    sys.exit(main())
