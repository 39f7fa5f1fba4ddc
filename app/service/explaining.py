"""Gathers everything that decides how a job fares."""

from collections.abc import Sequence

from app.domain.engine import Engine, WorkerView
from app.domain.explanation import Reason, Situation, reasons
from app.service.dispatcher import Dispatcher
from app.service.jobs import Jobs
from app.service.live import LiveJob


class Explaining:
    """Says why."""

    def __init__(self, dispatcher: Dispatcher, engine: Engine) -> None:
        self._dispatcher = dispatcher
        self._engine = engine

    async def explain(self, jobs: Jobs, job_id: str) -> list[Reason]:
        """Why the job waits, is slow or has ended.  NotFound or Gone if there is no such job among those given."""
        live = jobs.live(job_id)
        if live is not None:
            return reasons(self._situation(live, stopping=jobs.closing.is_set()))
        view = await jobs.get(job_id)
        return reasons(Situation(view.job, view.counts))

    def _situation(self, live: LiveJob, *, stopping: bool) -> Situation:
        trouble, backlog = self._dispatcher.trouble, self._dispatcher.backlog
        scheduler = self._dispatcher.scheduler
        standing = scheduler.standing(live)
        workers = self._engine.workers(live.pool)
        return Situation(
            live.job,
            live.counts,
            pool=live.pool,
            workers=sum(worker.state in ("idle", "busy") for worker in workers),
            stopping=stopping,
            trouble=trouble.detail if trouble else None,
            held=live.held,
            pool_paused=live.pool in self._dispatcher.paused_pools,
            reading=live.loading,
            limit=scheduler.limit(live),
            memory_short=self._engine.memory_short,
            postponed=len(live.postponed),
            ahead=standing.ahead if standing else None,
            sharers=standing.sharers if standing else 0,
            share=standing.share if standing else 1.0,
            longest=_longest(live, workers),
            backlog=backlog.stops(live) or backlog.stops_all,
        )


def _longest(live: LiveJob, workers: Sequence[WorkerView]) -> tuple[WorkerView, float] | None:
    """The worker that has been with one of the job's items for longest."""
    found = [
        (worker, worker.item_seconds)
        for worker in workers
        if worker.chunk_id in live.chunks and worker.item_seconds is not None
    ]
    return max(found, key=lambda entry: entry[1], default=None)
