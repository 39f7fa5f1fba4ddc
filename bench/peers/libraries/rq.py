"""RQ.

Two workers by its `worker-pool` (python-rq.org/docs/workers, "Worker Pool").  Short items are run by its
`SimpleWorker`, which does not fork for each job; long ones and those that go wrong by its default, which does, with
the functions imported before it forks ("Performance Notes").
Many at once are one `enqueue_many` (python-rq.org/docs, "Bulk Job Enqueueing").
"""

import math
from collections.abc import Sequence
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.worker import Worker

from bench.peers.functions import call
from bench.peers.library import (
    LIMIT_SECONDS,
    WORKERS,
    Command,
    Failed,
    Pending,
    items_are_long,
    patient_redis_url,
)

SECONDS_MAX = 300.0


class Preloaded(Worker):  # type: ignore[misc]  # RQ is not there for the type checker
    """The default, in a module that imports what its jobs need."""


class Rq:
    def __init__(self) -> None:
        worker = f"{__name__}.Preloaded" if items_are_long() else "rq.worker.SimpleWorker"
        self._queue = Queue(connection=Redis.from_url(patient_redis_url()))
        options = (
            "--url",
            patient_redis_url(),
            "--quiet",
            "--worker-class",
            worker,
            "--num-workers",
            str(WORKERS),
        )
        self._workers = Command("rq.cli", "worker-pool", *options)

    def start(self) -> None:
        self._workers.start()

    def crash(self) -> None:
        self._workers.crash()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Job]:
        limit = math.ceil(LIMIT_SECONDS) if name == "hang" else None
        return [self._queue.enqueue(call, name, item, job_timeout=limit) for item in items]

    def outcome(self, handle: Job, seconds: float) -> Any:
        result = handle.latest_result(timeout=math.ceil(seconds))
        if result is None:
            raise Pending
        if result.type is not result.Type.SUCCESSFUL:
            said = (result.exc_string or "failed").strip().splitlines()[-1]
            raise Failed(said.partition(":")[0].partition(";")[0].rpartition(".")[2] or said)
        return result.return_value

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        jobs = self._queue.enqueue_many([Queue.prepare_data(call, (name, item)) for item in items])
        return [self.outcome(job, SECONDS_MAX) for job in jobs]
