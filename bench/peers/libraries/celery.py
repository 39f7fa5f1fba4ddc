"""Celery on Redis.

Set up by its "Optimizing" page (docs.celeryq.dev, userguide/optimizing): a large prefetch multiplier for many short
tasks; for long ones a multiplier of 1 with `acks_late`.  Many at once are `chunks` (userguide/canvas), which is
one message for each chunk.
"""

from collections.abc import Sequence
from typing import Any

from celery import Celery as App
from celery.exceptions import TimeoutError as NothingYet
from celery.result import AsyncResult

from bench.peers import functions
from bench.peers.library import LIMIT_SECONDS, WORKERS, Command, Failed, Pending, items_are_long, redis_url

CHUNK = 100
SECONDS_MAX = 300

app = App("peers", broker=redis_url(), backend=redis_url(1))
app.conf.update(
    worker_concurrency=WORKERS,
    worker_prefetch_multiplier=1 if items_are_long() else 128,
    task_acks_late=items_are_long(),
    broker_connection_retry_on_startup=True,
    task_serializer="json",
)


@app.task(name="call")
def call(name: str, item: Any) -> Any:
    return functions.call(name, item)


class Celery:
    def __init__(self) -> None:
        self._workers = Command("celery", "-A", __name__, "worker", "--loglevel=CRITICAL", "--without-gossip")

    def start(self) -> None:
        self._workers.start()

    def crash(self) -> None:
        self._workers.crash()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[AsyncResult]:
        limit = LIMIT_SECONDS if name == "hang" else None
        return [call.apply_async((name, item), time_limit=limit) for item in items]

    def outcome(self, handle: AsyncResult, seconds: float) -> Any:
        try:
            return handle.get(timeout=seconds)
        except NothingYet:
            raise Pending from None
        except Exception as error:
            raise Failed(type(error).__name__) from error

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        size = 1 if items_are_long() else CHUNK
        chunks = call.chunks([(name, item) for item in items], size).apply_async()
        return [output for chunk in chunks.get(timeout=SECONDS_MAX) for output in chunk]
