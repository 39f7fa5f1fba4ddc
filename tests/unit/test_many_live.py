"""What concerns all unfinished jobs at once, however many there are."""

import asyncio
import gc
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, cast

import pytest

from app.domain.job import Counts, Job, Options, Status
from app.domain.share import FairShare, Turn
from app.domain.store import Query
from app.service.admission import Limits
from app.service.control import RUNG_AT_ONCE, Control
from app.service.deadlines import Deadlines
from app.service.jobs import Jobs
from app.service.live import LiveJob
from app.service.scheduler import ASIDE_AT_ONCE
from app.service.standing import FEW
from app.service.timetable import AT_ONCE
from app.service.view import JobView
from app.service.writer import JOBS_MAX
from app.stores.memory import MemoryStore
from tests.builders import a_job
from tests.simulation.scheduled import Scheduled, scheduled
from tests.unit.crowd import Service, told

JOBS = 3 * RUNG_AT_ONCE


def with_many(service: Service) -> list[LiveJob]:
    """Waiting jobs, of which the service knows."""
    changes = service.dispatcher.changes
    lives = [
        LiveJob(a_job(f"j{number}"), [(0, 3)], "cpu", 1, now=0.0, changes=changes) for number in range(JOBS)
    ]
    service.dispatcher.live |= {live.job.id: live for live in lives}
    return lives


def test_a_pool_is_paused_with_turns_for_others() -> None:
    """Every job of it has changed then, and who watches one is woken."""

    async def story(service: Service) -> None:
        lives = with_many(service)
        watching = asyncio.create_task(lives[-1].bell.wait(lives[-1].bell.rings, 3600.0))
        before, turns = service.dispatcher.changes.number, 0
        pausing = asyncio.create_task(Control(service.jobs, service.dispatcher).set_paused("cpu", True))
        while not pausing.done():
            await asyncio.sleep(0)
            turns += 1
        await watching

        assert turns > JOBS // RUNG_AT_ONCE
        assert service.dispatcher.changes.number - before == JOBS
        assert service.dispatcher.paused_pools == {"cpu"}

    told(story)


def test_the_end_of_the_service_is_no_change_of_its_jobs() -> None:
    """Who waits for one of them, or for its end, is woken all the same."""

    async def story(service: Service) -> None:
        lives = with_many(service)
        waits = [asyncio.create_task(bell.wait(0, 3600.0)) for bell in (lives[0].bell, lives[1].end)]
        await asyncio.sleep(0)
        before, began = service.dispatcher.changes.number, service.clock.monotonic()
        service.jobs.close()
        await asyncio.gather(*waits)

        assert service.clock.monotonic() - began < 1.0
        assert service.dispatcher.changes.number == before

    told(story)


def test_a_job_of_a_list_is_as_it_is_when_it_is_taken() -> None:
    """To make all of a thousand at once would hold up others; so they change meanwhile."""

    async def story(service: Service) -> None:
        running = await service.begin(3)
        jobs = await service.jobs.list(Query(10))
        await running.did(0, [False, True])

        assert next(jobs).counts == Counts(3, 1, 1, 1)

    told(story)


class _Resumed:
    """A coroutine that is awaited, and how often it was gone on with."""

    def __init__(self, coroutine: Coroutine[Any, Any, JobView]) -> None:
        self._coroutine = coroutine
        self.times = 0

    def __await__(self) -> Generator[Any, Any, JobView]:
        waiting = self._coroutine.__await__()
        while True:
            try:
                future = next(waiting)
            except StopIteration as end:
                return cast("JobView", end.value)
            yield future
            self.times += 1


def test_who_waits_for_the_end_of_a_job_is_woken_once() -> None:
    """However many results come before it."""

    async def story(service: Scheduled) -> None:
        jobs = Jobs(service.store, service.dispatcher, service.engine, service.clock, Limits(10, 1_000))
        live = await service.submit(*[300.0] * 40)
        before = live.bell.rings
        waiting = _Resumed(jobs.wait(live.job.id, 60.0))
        view = await waiting

        assert view.job.status is Status.COMPLETED
        assert live.bell.rings - before > 10
        assert waiting.times == 1

    scheduled(story)


def test_jobs_whose_time_is_over_together_end_with_turns_for_others() -> None:
    """Each of them once, and none whose limit was taken away meanwhile."""
    lives = [
        LiveJob(a_job(f"j{n}", options=Options(job_timeout_seconds=1.0)), [(0, 3)], "cpu", 1, now=0.0)
        for n in range(3 * AT_ONCE)
    ]
    turns: list[list[LiveJob]] = [[]]

    async def story(service: Service) -> None:
        loop = asyncio.get_running_loop()

        def over(live: LiveJob) -> None:
            if not turns[-1]:
                loop.call_soon(turns.append, [])
            turns[-1].append(live)

        deadlines = Deadlines(service.clock, over)
        for live in lives:
            deadlines.set(live)
        deadlines.forget(lives[0])
        await asyncio.sleep(3600.0)

    told(story)

    assert max(map(len, turns)) == AT_ONCE
    assert sorted(live.job.id for turn in turns for live in turn) == sorted(live.job.id for live in lives[1:])


class _Counting(MemoryStore):
    """Knows how many jobs were written at once, which takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []

    async def append_results(self, segments: Sequence[Any], jobs: Sequence[Job], *rest: Any) -> None:
        self.written.append(len(jobs))
        await asyncio.sleep(0.001)
        await super().append_results(segments, jobs, *rest)


def test_the_state_of_many_jobs_is_stored_in_parts() -> None:
    """Who changed one of them is answered when that one is stored, and does not wait for the others."""
    store = _Counting()
    to_come: list[int] = []

    async def story(service: Scheduled) -> None:
        async def cancel(live: LiveJob) -> None:
            await service.dispatcher.cancel(live)
            cancelled = {job.id for job in store.jobs() if job.status is Status.CANCELLED}
            assert live.job.id in cancelled
            to_come.append(len(lives) - len(cancelled))

        service.dispatcher.paused_pools.add("cpu")
        lives = [await service.submit(1.0) for _ in range(2 * JOBS_MAX + 1)]
        await asyncio.gather(*map(cancel, lives))

    scheduled(story, store)

    assert sum(store.written) >= 2 * JOBS_MAX + 1
    assert max(store.written) == JOBS_MAX
    assert to_come[0] > 0


def test_jobs_that_their_task_holds_up_step_aside_with_turns_for_others() -> None:
    """All of them, in the end; but for the one that it lets go."""
    number = 3 * ASIDE_AT_ONCE
    aside: list[int] = []

    async def story(service: Scheduled) -> None:
        dispatcher = service.dispatcher
        dispatcher.paused_pools.add("cpu")
        lives = [await service.submit(1e9) for _ in range(number)]
        dispatcher.paused_pools.clear()
        dispatcher.pump()
        for _ in range(5):
            aside.append(sum(dispatcher.scheduler.limit(live) is not None for live in lives))
            await asyncio.sleep(0)

    scheduled(story, work={"starts_per_second": 0.001})

    assert aside[0] == ASIDE_AT_ONCE
    assert aside[-1] == number - 1


def test_a_job_that_has_ended_is_nowhere_in_memory() -> None:
    """Also if somebody looked where it stood among others."""
    left: list[LiveJob] = []

    async def story(service: Scheduled) -> None:
        running = [await service.submit(1e9) for _ in range(20)]
        job = await service.submit(1.0)
        assert service.dispatcher.scheduler.queue_position(job)
        await service.dispatcher.cancel(job)
        del job
        gc.collect()
        left.extend(found for found in gc.get_objects() if isinstance(found, LiveJob) and found.halt)
        assert running

    scheduled(story)

    assert left == []


def test_who_joins_many_is_told_its_place_without_sorting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the job, however many have come since they were sorted."""
    sorted_at: list[int] = []
    told: list[int | None] = []
    order = FairShare.order

    def counted(share: FairShare[LiveJob]) -> list[Turn]:
        sorted_at.append(len(share))
        return order(share)

    monkeypatch.setattr(FairShare, "order", counted)

    async def story(service: Scheduled) -> None:
        service.dispatcher.paused_pools.add("cpu")
        place = service.dispatcher.scheduler.queue_position
        told.extend([place(await service.submit(1.0)) for _ in range(3 * FEW)])

    scheduled(story)

    assert told == list(range(3 * FEW))
    assert [number for number in sorted_at if number > FEW] == []
