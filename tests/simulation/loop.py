"""An event loop on which time passes only when nothing else is to be done.

Invariant: the same callbacks in the same order give the same times; nothing ever waits for real.
"""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 1, tzinfo=UTC)
STEPS_MAX = 20_000
"""Of one life; of some thousand, the longest took a tenth of it."""


class Stuck(Exception):
    """Nothing is to be done any more, now or later, and yet somebody waits."""


class Endless(Exception):
    """There is always more to be done."""


class _Selector(selectors.SelectSelector):
    """Does not wait: tells the loop how long it would have.  Stuck or Endless if that leads nowhere."""

    def __init__(self, time: float) -> None:
        super().__init__()
        self.time = time
        self.steps = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self.steps += 1
        if self.steps > STEPS_MAX:
            self.steps = 0  # what is to be cleaned up has as many
            raise Endless
        self.time += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Jumps from timer to timer, from `time` on, in seconds."""

    def __init__(self, time: float = 0.0) -> None:
        self._simulated = _Selector(time)
        super().__init__(self._simulated)

    @property
    def steps(self) -> int:
        """How often it was asked for what is to be done next."""
        return self._simulated.steps

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
