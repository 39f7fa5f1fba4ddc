"""Why a job waits, or is slow, or has ended, in words.

Invariant: a code is stable, and stands in `CODES`; what stands first is what matters most.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.domain.engine import WorkerView
from app.domain.job import Counts, Job, Status

CODES: Mapping[str, str] = {
    "finished": "it has ended, and how",
    "stopping": "the service is stopping; the rest runs after its next start",
    "storage": "nothing can be stored for now, so that no item starts",
    "task_not_loaded": "the service runs without the job's task; the job goes on once it is loaded again",
    "pool_paused": "`PATCH /v1/pool/{name}` has paused the pool that the job's task runs in",
    "cancelling": "somebody cancelled it, and items that run are being ended",
    "paused": "somebody paused it",
    "reading": "its items are being read from disk",
    "waiting_for_items": "it is open, and all its items have results; send more, or seal it",
    "max_in_flight": "as many of its items run as its `max_in_flight` allows",
    "max_concurrency": "as many items of its task run, of all jobs together, as the task allows",
    "rate_limit": "as many items of its task have just started as the task's `rate_limit` allows",
    "memory": "memory is short, and nothing starts until some is free",
    "no_workers": "none of the pool's workers is up yet",
    "retries": "items that failed wait for their time to be tried again",
    "queued": "other jobs of its pool come first",
    "slow_item": "an item has been running for long",
    "last_items": "nothing waits any more: the last items run",
    "sharing": "it shares the workers with other jobs",
    "backlog": "results come faster than the disk takes them",
    "running": "its items run, and nothing holds them up",
}
SLOW_SECONDS = 5.0
"""Since when an item that runs is worth a word."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that decides how a job fares at one moment."""

    job: Job
    counts: Counts
    pool: str = "cpu"
    workers: int = 1
    """How many of the pool's are up."""
    stopping: bool = False
    trouble: str | None = None
    """What is wrong with the storage."""
    held: bool = False
    pool_paused: bool = False
    reading: bool = False
    limit: str | None = None
    """Which of its task's limits it waits for."""
    memory_short: bool = False
    postponed: int = 0
    """Items that wait to be tried again."""
    ahead: int | None = None
    """Jobs that are served before it; None if it wants no worker now."""
    sharers: int = 0
    """Other jobs of the pool that want workers."""
    share: float = 1.0
    """What it is due of the pool's worker time."""
    longest: tuple[WorkerView, float] | None = None
    """The worker that has been with one of its items for longest, and for how many seconds."""
    backlog: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    code: str
    detail: str


def reasons(now: Situation) -> list[Reason]:
    """Why the job fares as it does, what matters most first; at least one."""
    if now.job.status.finished:
        return [Reason("finished", _end(now.job))]
    found = [Reason(code, detail) for code, detail in (*_stops(now), *_waits(now), *_slows(now))]
    return found or [
        Reason("running", f"{_items(now.counts.running)} with workers, and nothing holds it up.")
    ]


def _stops(now: Situation) -> Iterator[tuple[str, str]]:
    """Why no item of it starts at all, whatever others do."""
    counts = now.counts
    rest = f"; {_items(counts.running)} with workers and will end first" if counts.running else ""
    if now.stopping:
        yield "stopping", "The service is stopping; what is left runs after its next start."
    if now.trouble is not None:
        yield "storage", f"No item starts until results can be stored again: {now.trouble}"
    if now.held:
        yield (
            "task_not_loaded",
            f"No task is called {now.job.task!r} here now; it goes on once it is loaded again.",
        )
    if now.pool_paused:
        detail = f'Pool {now.pool!r} is paused; PATCH /v1/pool/{now.pool} with {{"paused":false}} resumes it{rest}.'
        yield "pool_paused", detail
    if now.job.status is Status.CANCELLING:
        yield "cancelling", f"It was cancelled; {_items(counts.running)} being ended."
    if now.job.status is Status.PAUSED:
        yield "paused", f"It is paused; resume it for {_waiting(counts.queued)} to start{rest}."


def _waits(now: Situation) -> Iterator[tuple[str, str]]:
    """Why what waits of it does not start just now."""
    job, counts = now.job, now.counts
    if job.status in (Status.CANCELLING, Status.PAUSED) or now.held or now.pool_paused:
        return
    if not job.sealed and counts.done == counts.total:
        yield "waiting_for_items", "It is open, and every item it has is done; send more items, or seal it."
    if not counts.queued:
        return
    if now.reading:
        yield "reading", "Its items are being read from disk."
    most = job.options.max_in_flight
    if most is not None and counts.running >= most:
        yield "max_in_flight", f"{_items(counts.running)} with workers, and its max_in_flight is {most}."
    if now.limit == "max_concurrency":
        detail = (
            f"As many items of {job.task!r}, of all jobs together, run as the task's max_concurrency allows."
        )
        yield "max_concurrency", detail
    if now.limit == "rate_limit":
        yield (
            "rate_limit",
            f"As many items of {job.task!r} have started as the task's rate_limit allows for now.",
        )
    if now.memory_short:
        yield "memory", "Memory is short: no item starts until some is free."
    if not now.workers:
        yield "no_workers", f"None of the workers of pool {now.pool!r} is up yet."
    if now.postponed:
        verb = "waits" if now.postponed == 1 else "wait"
        yield "retries", f"{_waiting(now.postponed)} that failed {verb} for the time to be tried again."
    if job.status is Status.QUEUED and now.ahead is not None:
        before = "no other job comes" if not now.ahead else f"{_jobs(now.ahead)} {_come(now.ahead)}"
        yield "queued", f"It waits for a worker of pool {now.pool!r}; {before} before it."


def _slows(now: Situation) -> Iterator[tuple[str, str]]:
    """Why it does not go faster."""
    counts = now.counts
    if now.longest is not None and now.longest[1] >= SLOW_SECONDS:
        worker, seconds = now.longest
        yield "slow_item", f"Item {worker.item} has been running for {seconds:.0f} s on worker {worker.id}."
    if counts.running and not counts.queued and now.job.status is Status.RUNNING:
        yield "last_items", f"Nothing of it waits any more: the last {_items(counts.running)} with workers."
    if now.sharers and now.ahead is not None:
        share = f"{100 * now.share:.0f} %"
        yield (
            "sharing",
            f"It gets {share} of the workers of pool {now.pool!r}, beside {_others(now.sharers)}.",
        )
    if now.backlog:
        yield "backlog", "Results come faster than the disk takes them; items start again as it catches up."


def _end(job: Job) -> str:
    counts = job.counts
    told = f"{counts.succeeded:,} of {_waiting(counts.total)} succeeded, {counts.failed:,} failed"
    told += f"; {_left(counts.cancelled)} without a result" if counts.cancelled else ""
    why = f" {job.error['detail']}" if job.error and "detail" in job.error else ""
    return f"It is {job.status}: {told}.{why}"


def _waiting(count: int) -> str:
    return f"{count:,} item" if count == 1 else f"{count:,} items"


def _items(count: int) -> str:
    return f"{count:,} item is" if count == 1 else f"{count:,} items are"


def _left(count: int) -> str:
    """Of items that never ran, and of those that were ended while they ran."""
    return f"{count:,} was left" if count == 1 else f"{count:,} were left"


def _jobs(count: int) -> str:
    return "1 other job" if count == 1 else f"{count:,} other jobs"


def _come(count: int) -> str:
    return "comes" if count == 1 else "come"


def _others(count: int) -> str:
    return "1 other job that wants them" if count == 1 else f"{count:,} other jobs that want them"
