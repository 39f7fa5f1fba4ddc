"""Which jobs changed since a reader last looked.

How it works: each change moves its job to the end of a list and gives it the next number; a reader says up to which
number it has seen.  A job that changes often stands there once, so nothing grows with changes or with readers.

Invariant: of the last `JOBS_MAX` jobs that changed, no change is missed.
"""

from collections.abc import Iterator
from datetime import datetime

from app.domain.caller import Caller
from app.domain.job import Job

JOBS_MAX = 1_000


class Changes:
    """Shared by all who look."""

    def __init__(self, began_at: datetime) -> None:
        """Numbers start from the time, in microseconds, so that those of an earlier process are recognised."""
        self.number = int(began_at.timestamp() * 1e6)
        """Of the last change."""
        self._forgotten = self.number
        """Of the last change that does not stand here any more."""
        self._jobs: dict[str, tuple[int, str | None]] = {}
        """By job id, the one that changed last at the end: (number, who submitted it)."""

    def note(self, job: Job) -> None:
        """The job changed, came, or went."""
        jobs, job_id = self._jobs, job.id
        self.number += 1
        jobs.pop(job_id, None)
        jobs[job_id] = (self.number, job.submitted_by)
        if len(jobs) > JOBS_MAX:
            self._forgotten, _ = jobs.pop(next(iter(jobs)))

    def reach(self, number: int) -> bool:
        """Whether all that changed after that number stands here."""
        return self._forgotten <= number <= self.number

    def since(self, number: int, caller: Caller) -> Iterator[str]:
        """Ids of the jobs this caller sees that changed after that number, the one that changed last first."""
        for job_id in reversed(self._jobs):
            at, submitted_by = self._jobs[job_id]
            if at <= number:
                return
            if caller.sees(submitted_by):
                yield job_id
