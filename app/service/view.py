"""What is shown of a job."""

from collections.abc import Container

import msgspec

from app.domain.errors import ServiceError, problem, problem_of
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


def stopped_by(trouble: ServiceError | None, pool: str, paused: Container[str]) -> dict[str, str] | None:
    """Why no item starts in the pool, as a problem; `trouble` is why nothing can be stored."""
    if trouble is not None:
        return problem_of(trouble)
    if pool in paused:
        return problem("pool-paused", f"PATCH /v1/pool/{pool} resumes the pool.")
    return None
