"""When a job's time is over.

Invariant: at most one end is awaited for each job, and it is that of its present `job_timeout_seconds`.
"""

from collections.abc import Callable

from app.domain.clock import Clock
from app.service.live import LiveJob
from app.service.timetable import Timetable


class Deadlines:
    """Tells `over` of each job whose time has come."""

    def __init__(self, clock: Clock, over: Callable[[LiveJob], object]) -> None:
        self._clock = clock
        self._over = over
        self._jobs: dict[str, LiveJob] = {}
        """Those that have a limit."""
        self._times = Timetable(self._ring)

    def set(self, live: LiveJob) -> None:
        """The job's limit may have changed; its time has run since its submission, restarts and pauses included."""
        limit = live.job.options.job_timeout_seconds
        if limit is None:
            self.forget(live)
            return
        spent = max(0.0, (self._clock.now() - live.job.created_at).total_seconds())
        self._jobs[live.job.id] = live
        self._times.set(live.job.id, max(0.0, limit - spent))

    def forget(self, live: LiveJob) -> None:
        """Whether the job ends in time does not matter any more."""
        self._jobs.pop(live.job.id, None)
        self._times.forget(live.job.id)

    def stop(self) -> None:
        self._times.stop()

    def _ring(self, job_id: str) -> None:
        self._over(self._jobs.pop(job_id))
