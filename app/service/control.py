"""Control over jobs that are not finished: pause, resume, other options.

Invariant: what a caller was told is stored; of a job that finished meanwhile nothing was changed.
"""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from app.domain.engine import PoolName
from app.domain.errors import Conflict
from app.domain.job import Event, Job, Status, step
from app.service.dispatcher import Dispatcher
from app.service.jobs import Jobs
from app.service.live import LiveJob
from app.service.view import JobView

RUNG_AT_ONCE = 1_000
"""Of the jobs of a pool, before others have the loop."""


class Control:
    """Every call may be repeated.  NotFound or Gone if there is no such job, Conflict if it has finished."""

    def __init__(self, jobs: Jobs, dispatcher: Dispatcher) -> None:
        self._jobs = jobs
        self._dispatcher = dispatcher

    def of(self, jobs: Jobs) -> "Control":
        """Control over these jobs: those that a caller sees."""
        return Control(jobs, self._dispatcher)

    async def pause(self, job_id: str) -> JobView:
        """No item starts until the job is resumed; those that run go on.  Conflict if it is being ended."""
        return await self._move(job_id, _paused)

    async def resume(self, job_id: str) -> JobView:
        """A paused job goes on; any other goes on anyway.  Conflict if it is being ended."""
        return await self._move(job_id, _resumed)

    async def change(self, job_id: str, changed: Callable[[Job], Job]) -> JobView:
        """Give the job the options that `changed` gives it.  An item that runs keeps the time limit it began with."""
        live = await self._live(job_id)
        await self._dispatcher.change(live, changed(live.job))
        view = await self._jobs.get(job_id)
        if view.job.status.finished and live.job != changed(live.job):
            raise _too_late(view)
        return view

    async def seal(self, job_id: str) -> JobView:
        """No more items will come; harmless if the job is sealed, has finished, or is being ended.

        The latter stays as it is: who was refused the rest of the items is not to be told that all are done.
        """
        view = await self._jobs.get(job_id)
        if live := self._jobs.live(job_id):
            async with live.growing:
                pass  # what is on its way is one of its items
            if not live.job.status.finished and live.halt is None:
                await self._dispatcher.change(live, replace(live.job, sealed=True))
            view = await self._jobs.get(job_id)
        return view

    def is_paused(self, pool: PoolName) -> bool:
        return pool in self._dispatcher.paused_pools

    async def set_paused(self, pool: PoolName, paused: bool) -> None:
        """Whether items start in the pool; those that run go on.  Forgotten when the service ends."""
        dispatcher = self._dispatcher
        if paused:
            dispatcher.paused_pools.add(pool)
        else:
            dispatcher.paused_pools.discard(pool)
        lives = [live for live in dispatcher.live.values() if live.pool == pool]
        for live in lives:
            if paused and live.out:
                dispatcher.recall(live)
        dispatcher.bell.ring()
        dispatcher.pump()
        for number, live in enumerate(lives, start=1):
            live.ring()
            if number % RUNG_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _move(self, job_id: str, moved: Callable[[Job], Job]) -> JobView:
        live = await self._live(job_id)
        if live.halt is not None:
            raise Conflict(f"Job {job_id!r} is being ended already; what is done is kept.")
        await self._dispatcher.change(live, moved(live.job))
        view = await self._jobs.get(job_id)
        if view.job.status.finished:
            raise _too_late(view)
        return view

    async def _live(self, job_id: str) -> LiveJob:
        live = self._jobs.live(job_id)
        if live is None:
            raise _too_late(await self._jobs.get(job_id))
        return live


def _paused(job: Job) -> Job:
    if job.status is Status.PAUSED:
        return job
    return replace(job, status=step(job.status, Event.PAUSE_ASKED))


def _resumed(job: Job) -> Job:
    if job.status is not Status.PAUSED:
        return job
    event = Event.RESUMED_UNSTARTED if job.started_at is None else Event.RESUMED
    return replace(job, status=step(job.status, event))


def _too_late(view: JobView) -> Conflict:
    return Conflict(f"Job {view.job.id!r} is {view.job.status}, and a finished job never changes.")
