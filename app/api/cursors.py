"""Where a list of jobs was left off, as a text that its reader gives back.

Invariant: a cursor never stops working, even when its job has been deleted or has expired.
"""

from datetime import UTC, datetime, timedelta

from app.api.schemas import JOB_ID
from app.domain.job import Job
from app.domain.store import Position

PATTERN = f"^[0-9]{{1,17}}-{JOB_ID}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def after(job: Job) -> str:
    """The place after this job: when it was submitted, to the microsecond, and its id."""
    return f"{(job.created_at - _EPOCH) // _MICROSECOND}-{job.id}"


def parsed(cursor: str) -> Position:
    """The place that a text of this `PATTERN` names."""
    microseconds, _, job_id = cursor.partition("-")
    return Position(job_id, _EPOCH + int(microseconds) * _MICROSECOND)
