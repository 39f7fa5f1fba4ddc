"""What a job is, and the only ways it may change.

    queued ────first item started────▶ running ──┬─ every item has a result ─▶ completed
     ▲  │                               ▲  │     ├─ too many failures ───────▶ failed
     │  └─ pause asked ─▶ paused ◀──────┼──┘     └─ job timeout ─────────────▶ expired
     └──────── resumed ─────┴───────────┘
    any of these three ── cancel asked ──▶ cancelling ── last item let go ───▶ cancelled

`paused` ends as `running` does, and is resumed to where it was.
A status or an event that is not in `TRANSITIONS` does not exist.
Invariant: the five counts sum to `total`, at every moment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec.structs import replace


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def finished(self) -> bool:
        """A finished job never changes again."""
        return self in FINISHED


FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})


class Event(StrEnum):
    STARTED = "first item started"
    PAUSE_ASKED = "pause asked"
    RESUMED = "resumed"
    RESUMED_UNSTARTED = "resumed before the first item"
    ALL_DONE = "every item has a result"
    CANCEL_ASKED = "cancel asked"
    LET_GO = "last item let go"
    TOO_MANY_FAILURES = "too many failures"
    TIMED_OUT = "job timeout"


TRANSITIONS: Mapping[tuple[Status, Event], Status] = {
    (Status.QUEUED, Event.STARTED): Status.RUNNING,
    (Status.QUEUED, Event.ALL_DONE): Status.COMPLETED,  # a job without items
    (Status.QUEUED, Event.CANCEL_ASKED): Status.CANCELLING,
    (Status.QUEUED, Event.TOO_MANY_FAILURES): Status.FAILED,  # its task exists no longer
    (Status.QUEUED, Event.TIMED_OUT): Status.EXPIRED,
    (Status.RUNNING, Event.ALL_DONE): Status.COMPLETED,
    (Status.RUNNING, Event.CANCEL_ASKED): Status.CANCELLING,
    (Status.RUNNING, Event.TOO_MANY_FAILURES): Status.FAILED,
    (Status.RUNNING, Event.TIMED_OUT): Status.EXPIRED,
    (Status.QUEUED, Event.PAUSE_ASKED): Status.PAUSED,
    (Status.RUNNING, Event.PAUSE_ASKED): Status.PAUSED,
    (Status.PAUSED, Event.RESUMED): Status.RUNNING,
    (Status.PAUSED, Event.RESUMED_UNSTARTED): Status.QUEUED,
    (Status.PAUSED, Event.ALL_DONE): Status.COMPLETED,  # what ran then was the rest
    (Status.PAUSED, Event.CANCEL_ASKED): Status.CANCELLING,
    (Status.PAUSED, Event.TOO_MANY_FAILURES): Status.FAILED,
    (Status.PAUSED, Event.TIMED_OUT): Status.EXPIRED,
    (Status.CANCELLING, Event.LET_GO): Status.CANCELLED,
}


def step(status: Status, event: Event) -> Status:
    """The status after `event`.  An event that cannot happen here is a mistake of ours: KeyError."""
    return TRANSITIONS[status, event]


Priority = Literal["low", "normal", "high"]


class Options(msgspec.Struct, frozen=True):
    """What a submission may ask for, defaults filled in; times in seconds."""

    chunksize: int | Literal["auto"] = "auto"
    priority: Priority = "normal"
    max_attempts: int = 1
    item_timeout_seconds: float | Literal["auto"] | None = None
    job_timeout_seconds: float | None = None
    max_failures: int | str | None = None
    max_in_flight: int | None = None
    retention_seconds: float = 7 * 86400.0
    failure_retention_seconds: float | None = None
    """Of a job with failures, or that was ended early, if that is longer."""
    key_field: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """How many items are where.  Of an unfinished job, what is neither done nor with a worker is queued."""

    total: int
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    def __post_init__(self) -> None:
        assert min(self.queued, self.running, self.succeeded, self.failed, self.cancelled) >= 0, self

    @property
    def queued(self) -> int:
        return self.total - self.running - self.done - self.cancelled

    @property
    def done(self) -> int:
        """Items with a result: lines in the log."""
        return self.succeeded + self.failed

    def after(self, count: int, failed: int) -> "Counts":
        """The counts once `count` more items have a result, `failed` of them a failure."""
        return replace(self, succeeded=self.succeeded + count - failed, failed=self.failed + failed)

    def lines(self, outcome: str | None) -> int:
        """How many lines of the log have this outcome, `succeeded` or `failed`, or any."""
        return {"succeeded": self.succeeded, "failed": self.failed}.get(outcome or "", self.done)


def runs_otherwise(before: Options, after: Options) -> bool:
    """Whether items that are with a worker and have not begun would be sent otherwise now."""
    return (before.item_timeout_seconds, before.max_in_flight) != (
        after.item_timeout_seconds,
        after.max_in_flight,
    )


class Job(msgspec.Struct, frozen=True, gc=False):
    """One submission, as it is stored.  `running` is not: after a restart nothing is.

    What looks for cycles need not look at it: what it is made of was read from JSON, and does not know it.
    """

    id: str
    task: str
    status: Status
    counts: Counts
    options: Options
    created_at: datetime
    params: Mapping[str, Any] = {}
    sealed: bool = True
    label: str | None = None
    metadata: Mapping[str, Any] | None = None
    submitted_by: str | None = None
    retry_of: str | None = None
    error: Mapping[str, Any] | None = None
    error_groups: Sequence[Mapping[str, Any]] = ()
    """The most frequent troubles of its items (`app.domain.digest`)."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    expires_at: datetime | None = None
    fingerprint: str | None = None
    """SHA-256 over what was submitted: tells a repeated PUT from another job under the same id."""


def ended(job: Job, event: Event, counts: Counts, now: datetime) -> Job:
    """The job after the event that ends it, with these counts; items without a result are cancelled."""
    status = step(job.status, event)
    if cancelled := counts.total - counts.done:
        counts = replace(counts, cancelled=cancelled)
    expires_at = now + timedelta(seconds=kept_seconds(job.options, status, counts))
    return replace(job, status=status, counts=counts, ended_at=now, expires_at=expires_at)


def kept_seconds(options: Options, status: Status, counts: Counts) -> float:
    """How long a finished job is kept after its end."""
    failed = counts.failed > 0 or status in (Status.FAILED, Status.EXPIRED)
    longer = options.failure_retention_seconds if failed else None
    return max(options.retention_seconds, longer or 0.0)
