"""A quota holds for all that comes at the same time, not for each of it alone."""

import asyncio

import pytest

from app.domain.caller import Caller, Quota, Role
from app.domain.clock import SystemClock
from app.domain.errors import OverQuota
from app.service.quotas import Quotas
from app.stores.memory import MemoryStore

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
        quotas = Quotas(TakingItsTime(), {}, SystemClock()).of(ANN)
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
