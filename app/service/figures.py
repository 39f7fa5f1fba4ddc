"""What an operator watches, as numbers at one moment."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.engine import Engine
from app.domain.job import Status
from app.domain.store import JobStore
from app.service.dispatcher import Dispatcher
from app.service.writer import Stored


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is counted about jobs and workers."""

    jobs: Mapping[Status, int]
    items_waiting: int
    items_running: int
    stored: Stored
    bytes_unwritten: int
    storage_failing: bool
    workers: Mapping[tuple[str, str], int]
    """By pool and state."""
    restarts: Mapping[str, int]


class Figures:
    """Adds up."""

    def __init__(self, store: JobStore, dispatcher: Dispatcher, engine: Engine) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._engine = engine

    async def now(self) -> Snapshot:
        jobs = await self._store.count_jobs()
        pools = self._engine.pools()
        return Snapshot(
            {status: jobs.get(status, 0) for status in Status},
            self._dispatcher.tallies.items,
            sum(live.out for live in set(self._dispatcher.chunks.values())),
            self._dispatcher.stored,
            self._dispatcher.backlog.bytes,
            self._dispatcher.trouble is not None,
            Counter((pool, worker.state) for pool in pools for worker in self._engine.workers(pool)),
            {pool: self._engine.restarts(pool) for pool in pools},
        )
