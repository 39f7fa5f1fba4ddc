"""How often the pool looks at its workers: each time it does, somebody is woken who could have slept.

While all is calm that is at multiples of the time between: other timers of the loop ring at such moments, too, and it
is woken once for all of them.  Else it is so long after the last time: what has a limit began when these began, too.

Invariant: who asks to be looked at within some time is, whatever was meant before.
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
