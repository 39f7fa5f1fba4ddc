"""What answers look like, for `/openapi.json` alone: the routes write their answers as bytes.

Invariant: an answer has exactly the members that its document has; the tests hold each against the other.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import SubmitOptions
from app.domain.job import Priority, Status

ABSENT: Any = object()
"""The default of a member that is not always there."""

Count = Annotated[int, Field(ge=0)]
FailureKind = Literal[
    "exception", "timeout", "crashed", "out_of_memory", "invalid_input", "invalid_output", "too_large"
]


class Described(BaseModel):
    """A document of which nothing is built until somebody asks for its description."""

    model_config = ConfigDict(defer_build=True)


class SelfLink(Described):
    self: str


class Fault(Described):
    """One thing that is wrong with a request, and where."""

    pointer: str = Field(ABSENT, description="a JSON pointer into the body (RFC 6901)")
    line: int = Field(ABSENT, ge=1, description="a line of a JSON lines body")
    parameter: str = Field(ABSENT, description="a parameter of the address, or a header")
    detail: str = Field(description="what would be right")


class JobProblem(Described):
    """Why a job was ended early, or is held (RFC 9457, without a status)."""

    type: str = Field(
        description="stable; leads to a page that explains it", examples=["/problems/job-timeout"]
    )
    title: str
    detail: str


class Problem(JobProblem):
    """Why a request was not done (RFC 9457)."""

    status: int = Field(ge=400, le=599)
    instance: str = Field(ABSENT, description="the path of the request")
    errors: list[Fault] = Field(ABSENT, max_length=20, description="the first of the things that are wrong")
    errors_total: Count = Field(ABSENT, description="how many things are wrong in all")


class Counts(Described):
    """How many items are where; the five parts sum to `total`, at every moment."""

    total: Count
    queued: Count
    running: Count = Field(description="with a worker")
    succeeded: Count
    failed: Count
    cancelled: Count = Field(description="without a result when the job ended early")


class ItemError(Described):
    """How an item failed."""

    kind: FailureKind
    type: str
    message: str
    traceback: str = ABSENT
    log: str = Field(ABSENT, description="the end of what the item printed")
    signal: str = Field(ABSENT, description="what ended the worker", examples=["SIGKILL"])
    exit_code: int = Field(ABSENT, description="what the worker ended with")
    pid: int = Field(ABSENT, description="of the worker that ended")
    max_rss_bytes: Count = Field(ABSENT, description="the most memory that worker had")
    cpu_seconds: float = Field(ABSENT, description="what that worker had used")


class Result(Described):
    """The outcome of one item; exactly one of `output` and `error` is there."""

    index: Count
    key: str | int | float | bool = Field(
        ABSENT, description="the item's `key_field`, where one is asked for"
    )
    output: Any = ABSENT
    error: ItemError = ABSENT
    attempts: int = Field(ABSENT, ge=2, description="where it took more than one")
    duration_ms: float = Field(ABSENT, ge=0, description="where it took a millisecond or more")


class ErrorGroup(Described):
    """Failures that have kind, type, masked message and place in common."""

    group: str = Field(description="the fingerprint")
    kind: FailureKind
    type: str
    message: str = Field(description="with numbers, ids and the like masked")
    count: int = Field(ge=1)
    sample_index: Count = Field(description="the index of one of them")


class SampleLink(Described):
    sample: str


class FullErrorGroup(Described):
    """An error group, with where it happens and one traceback."""

    group: str
    kind: FailureKind
    type: str
    message: str
    place: str | None = Field(description="the innermost own frame")
    count: int = Field(ge=1)
    first_seen: datetime | None
    last_seen: datetime | None
    sample_indexes: list[Count] = Field(description="indexes of the first few")
    traceback: str | None
    links: SampleLink


class JobErrors(Described):
    """A job's failures by what they have in common, most frequent first."""

    failed: Count
    groups: list[FullErrorGroup]
    others: Count = Field(description="failures of groups that are not told apart")


class SlowItem(Described):
    index: Count
    duration_ms: float
    links: SelfLink


class JobTimings(Described):
    """How long items took; null is less than a millisecond."""

    items: Count = Field(description="how many were measured")
    median_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    slowest: list[SlowItem]


class Reason(Described):
    """One reason why a job fares as it does."""

    code: str = Field(description="stable", examples=["running"])
    detail: str


class Explanation(Described):
    """Why a job waits, is slow or has ended; what matters most comes first."""

    summary: str
    reasons: list[Reason] = Field(min_length=1)


class Options(Described):
    """Everything a job may ask for, defaults filled in."""

    chunksize: int | Literal["auto"]
    priority: Priority
    max_attempts: int
    item_timeout_seconds: float | Literal["auto"] | None
    job_timeout_seconds: float | None
    max_failures: int | str | None
    max_in_flight: int | None
    retention_seconds: float
    failure_retention_seconds: float | None
    key_field: str | None


class JobLinks(Described):
    """Where the rest of a job is."""

    self: str
    results: str
    failures: str
    inputs: str
    events: str
    cancel: str
    pause: str
    resume: str
    retry: str
    items: str = Field(ABSENT, description="of an open job: where more items are sent")
    seal: str = Field(ABSENT, description="of an open job")


class Job(Described):
    """A task over many items."""

    id: str
    task: str
    status: Status
    counts: Counts
    progress: float = Field(ge=0, le=1, description="the share of items that have an end")
    items_per_second: float | None
    eta_seconds: float | None = Field(description="how long it will take still, once that can be told")
    queue_position: int | None = Field(description="how many jobs start before it; null once it has started")
    error_groups: list[ErrorGroup] = Field(description="the most frequent failures")
    error: JobProblem | None = Field(description="why the job was ended early, or is held")
    results: list[Result] | None = Field(description="in input order, with `Prefer: wait` where they are few")
    sealed: bool
    params: dict[str, Any]
    options: Options
    label: str | None
    submitted_by: str | None
    retry_of: str | None
    metadata: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    expires_at: datetime | None
    links: JobLinks


class CancelReceipt(Described):
    """What a cancellation did."""

    dropped: Count = Field(description="items that will not start")
    signalled: Count = Field(description="running items that were asked to end")


class CancelledJob(Job):
    """The job, and what cancelling did to it."""

    cancelled: CancelReceipt


class Appended(Described):
    """What an open job has now."""

    total: Count


class JobList(Described):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(description="for the next page; null on the last one")


class ResultPage(Described):
    """A page of results."""

    results: list[Result]
    after: Count = Field(description="how many lines of the view came before")
    next_after: Count = Field(description="the cursor after this page")
    complete: bool = Field(description="whether there can be no more lines")


class Progress(Described):
    """The data of a `progress` event."""

    status: Status
    counts: Counts
    progress: float
    items_per_second: float | None
    eta_seconds: float | None


class ResultBatch(Described):
    """The data of a `results` event."""

    results: list[Result] = Field(max_length=250)


class Attempt(Described):
    """One execution of an item that failed."""

    attempt: int = Field(ge=1)
    at: datetime = ABSENT
    error: ItemError


class ItemProgress(Described):
    """How far a running item says it is."""

    share: float
    message: str


class ItemWorker(Described):
    """The worker that runs an item."""

    id: int
    pid: int | None


class ItemLinks(Described):
    self: str
    job: str


class Item(Described):
    """One input and all that happened to it."""

    index: Count
    key: str | int | float | bool | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    input: Any
    output: Any
    error: ItemError | None
    duration_ms: float | None
    running_seconds: float | None = Field(description="since it was seen to run")
    attempts: list[Attempt]
    log: str | None
    progress: ItemProgress | None
    worker: ItemWorker | None
    links: ItemLinks


class Checked(Described):
    """That a submission would be taken, and each of its items be run."""

    valid: Literal[True]
    task: str
    items: Count


class Submission(SubmitOptions):
    """A job: its task, its items and what it asks for."""

    items: list[Any] = Field(
        ABSENT,
        description="the inputs; what an item may be is the task's `item_schema`; an open job may begin without",
    )
