"""A quota holds for all that comes at the same time, and costs the same however much there is."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from app.domain.caller import Caller, Quota, Role
from app.domain.clock import SystemClock
from app.domain.errors import OverQuota
from app.service.quotas import Quotas
from app.service.tally import Tallies
from app.stores.memory import MemoryStore
from tests.simulation.fate import Item
from tests.simulation.scheduled import Scheduled, scheduled

ANN = Caller("ann", Role.SUBMIT, Quota(jobs_max=2, stored_bytes_max=1 << 20))


class TakingItsTime(MemoryStore):
    """Has the others go on before it answers, as one on a disk does."""

    async def stored_bytes(self, caller: str) -> int:
        await asyncio.sleep(0)
        return await super().stored_bytes(caller)


def test_of_submissions_that_come_at_once_no_more_are_taken_than_there_is_room_for() -> None:
    """Each is counted before it is asked whether there is room, which takes a moment."""

    async def submit(quotas: Quotas, taken: asyncio.Queue[bool], over: asyncio.Event) -> None:
        try:
            async with quotas.job():
                taken.put_nowait(True)
                await over.wait()
        except OverQuota:
            taken.put_nowait(False)

    async def story() -> list[bool]:
        quotas = Quotas(TakingItsTime(), Tallies(), SystemClock()).of(ANN)
        taken, over = asyncio.Queue[bool](), asyncio.Event()
        tasks = [asyncio.create_task(submit(quotas, taken, over)) for _ in range(3)]
        answers = [await taken.get() for _ in tasks]
        over.set()
        await asyncio.gather(*tasks)
        async with quotas.job(), quotas.job():  # what was taken and what was refused have both gone
            with pytest.raises(OverQuota):
                await quotas.check()
        return answers

    assert sorted(asyncio.run(story())) == [False, True, True]


def test_to_check_a_quota_takes_as_many_steps_however_many_jobs_there_are() -> None:
    """It is asked for each submission: what is unfinished was counted when it came."""
    steps: list[int] = []

    async def story(service: Scheduled) -> None:
        quotas = Quotas(service.store, service.dispatcher.tallies, service.clock)
        caller = Caller("ann", Role.SUBMIT, Quota(jobs_max=9_999, queued_items_max=99_999))
        service.dispatcher.paused_pools.add("cpu")
        for number in (10, 500):
            for _ in range(number):
                await service.submit(1.0, 1.0, by="ann")
            steps.append(await counted(quotas.of(caller).check()))

    scheduled(story)

    assert steps[0] == steps[1]


async def counted(work: Coroutine[Any, Any, None]) -> int:
    """How many calls and returns it takes."""
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(step)
    try:
        await work
    finally:
        sys.setprofile(None)
    return steps


def test_what_is_unfinished_is_what_the_jobs_say() -> None:
    """Whatever becomes of them: they run, are tried again, and are cancelled."""

    async def story(service: Scheduled) -> None:
        dispatcher = service.dispatcher

        def agree() -> None:
            own = [live for live in dispatcher.live.values() if live.job.submitted_by == "ann"]
            assert dispatcher.tallies.of("ann") == (len(own), sum(live.waiting for live in own))
            assert dispatcher.tallies.items == sum(live.waiting for live in dispatcher.live.values())

        items = [Item(n, fate, k=1, ms=20.0) for n, fate in enumerate(("ok", "flaky", "die", "fail") * 20)]
        jobs = [await service.submit(*items, by=by, max_attempts=3) for by in ("ann", "ann", None)]
        for _ in range(200):
            await asyncio.sleep(0.01)
            agree()
        await asyncio.gather(dispatcher.cancel(jobs[0]), dispatcher.cancel(jobs[2]))
        agree()
        await service.end(*jobs)
        agree()
        assert dispatcher.tallies.of("ann") == (0, 0)

    scheduled(story)
