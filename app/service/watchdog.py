"""Notices when the event loop is held up, which everybody who is connected would feel.

How it works: a timer that should ring every `INTERVAL_SECONDS`.  A hold-up longer than that is always seen, and its
length is known to within the interval; a shorter one is seen as often as it would meet anybody else.  Ringing more
often would cost more than it tells, as it wakes a process that could have slept.  It rings at multiples of the
interval, as the pool's own timer does, so that both wake the loop once.
"""

import asyncio
import logging

from app.domain.clock import Clock
from app.domain.histogram import Histogram

INTERVAL_SECONDS = 0.100
BOUNDS = (0.001, 0.002, 0.005, 0.010, 0.020, 0.050, 0.100, 0.250, 1.0)
WORTH_A_WORD_SECONDS = 1.0

log = logging.getLogger(__name__)


class Watchdog:
    """Watches the loop it is started on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lag = Histogram(BOUNDS)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wait()

    def stop(self) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        now = self._loop.time()
        self._due = round(now / INTERVAL_SECONDS + 1) * INTERVAL_SECONDS
        self._timer = self._loop.call_later(self._due - now, self._look)

    def _look(self) -> None:
        late = max(0.0, self._clock.monotonic() - self._due)
        self.lag.note(late)
        if late >= WORTH_A_WORD_SECONDS:
            log.warning("the event loop was held up for %.1f s", late)
        self._wait()
