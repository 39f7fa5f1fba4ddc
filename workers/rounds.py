"""How often the pool looks at its workers; each look wakes a process that could have slept.

While all is calm, looks are at multiples of the interval: other timers of the loop ring then too, and wake it only once
together.  Otherwise a look comes an interval after the last one, since what has a time limit began at that moment.

Invariant: whoever asks for a look within some time gets it, whatever was planned before.
"""

import asyncio
from collections.abc import Callable

WATCH_SECONDS = 0.020
CALM_SECONDS = 0.200
"""While nothing has a time limit, is to end, or waits where it could run sooner elsewhere."""
PRESSED_SECONDS = 0.002
"""While memory is short: a task can take a megabyte in a millisecond."""


class Rounds:
    """Calls `look` again and again; it says in how many seconds the next time is."""

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._go()

    def within(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        """The next time is to be no later than this, `unless` that need not be, which is asked if it would be later."""
        if self._due - self._loop.time() > seconds and not unless():
            self._timer.cancel()
            self._wait(seconds)

    def stop(self) -> None:
        self._timer.cancel()

    def _go(self) -> None:
        seconds = self._look()
        if seconds >= CALM_SECONDS:
            now = self._loop.time()
            seconds = round(now / seconds + 1) * seconds - now
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._go)
