"""An event loop on which time passes only when nothing else is to be done.

Invariant: the same callbacks in the same order give the same times; nothing ever waits for real.
"""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 1, tzinfo=UTC)


class Stuck(Exception):
    """Nothing is to be done any more, now or later, and yet somebody waits."""


class _Selector(selectors.SelectSelector):
    """Does not wait: tells the loop how long it would have."""

    def __init__(self, time: float) -> None:
        super().__init__()
        self.time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self.time += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Jumps from timer to timer, from `time` on, in seconds."""

    def __init__(self, time: float = 0.0) -> None:
        self._simulated = _Selector(time)
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.time


class SimulatedClock:
    """The loop's time, and a wall clock that was put forward by `jump`, or back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, jump: timedelta) -> None:
        self._loop = loop
        self.jump = jump

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time()) + self.jump
