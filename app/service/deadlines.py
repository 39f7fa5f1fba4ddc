"""When the time of a job is over.

Invariant: of each job at most one timer runs, and it is that of its present `job_timeout_seconds`.
"""

import asyncio
from collections.abc import Callable
from itertools import islice

from app.domain.clock import Clock
from app.service.live import LiveJob

OVER_AT_ONCE = 100
"""Of jobs whose time comes at the same moment, before others have the loop."""


class Deadlines:
    """Tells `over` of each job whose time has come."""

    def __init__(self, clock: Clock, over: Callable[[LiveJob], object]) -> None:
        self._clock = clock
        self._over = over
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._due: dict[str, LiveJob] = {}
        """Those whose time has come, and that are not told yet."""

    def set(self, live: LiveJob) -> None:
        """The job's limit may have changed; its time has run since its submission, restarts and pauses included."""
        self.forget(live)
        limit = live.job.options.job_timeout_seconds
        if limit is not None:
            spent = max(0.0, (self._clock.now() - live.job.created_at).total_seconds())
            loop = asyncio.get_running_loop()
            self._timers[live.job.id] = loop.call_later(max(0.0, limit - spent), self._ring, live)

    def forget(self, live: LiveJob) -> None:
        """Whether the job ends in time does not matter any more."""
        self._due.pop(live.job.id, None)
        if timer := self._timers.pop(live.job.id, None):
            timer.cancel()

    def stop(self) -> None:
        self._due.clear()
        for timer in self._timers.values():
            timer.cancel()

    def _ring(self, live: LiveJob) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._tell)
        self._due[live.job.id] = live

    def _tell(self) -> None:
        for job_id in list(islice(self._due, OVER_AT_ONCE)):
            self._over(self._due.pop(job_id))
        if self._due:
            asyncio.get_running_loop().call_soon(self._tell)
