"""Results that wait for the store, of all jobs.

Invariant: while there are too many, a job that contributed gets one further chunk at most; once there are twice as
many, no job gets any.  What workers have by then still runs to its end, and is accepted.
"""

from typing import Protocol

BYTES_MAX = 16 << 20
"""More than this hold up the jobs that have more than `OWN_BYTES_MAX` among them."""
OWN_BYTES_MAX = 256 << 10
ALL_BYTES_MAX = 2 * BYTES_MAX
"""More than this hold up everybody: so far those go on that have little among them, however many."""


class Waiting(Protocol):
    """A job, and how much of it waits for the store."""

    bytes_unwritten: int


class Backlog:
    """How much waits in all."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0

    def add(self, job: Waiting, size: int) -> None:
        """So much more of the job waits; less, if it is negative."""
        self.bytes += size
        job.bytes_unwritten += size

    def stops(self, job: Waiting) -> bool:
        """Whether no item of this job is to start for now; it has results that wait, and hears when they are stored."""
        return self.bytes > BYTES_MAX and job.bytes_unwritten > OWN_BYTES_MAX

    @property
    def stops_all(self) -> bool:
        """Whether no item is to start for now."""
        return self.bytes > ALL_BYTES_MAX
