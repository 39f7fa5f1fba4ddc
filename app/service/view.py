"""What is shown of a job."""

import msgspec

from app.domain.job import Counts, Job
from app.service.recent import Recent


class JobView(msgspec.Struct, frozen=True):
    """A job at one moment."""

    job: Job
    counts: Counts
    items_per_second: float | None = None
    eta_seconds: float | None = None
    queue_position: int | None = None
    ticket: str | None = None
    """To its events, for who asked."""
    recent: Recent | None = None
    """What of its log is in memory, if it has just finished."""
