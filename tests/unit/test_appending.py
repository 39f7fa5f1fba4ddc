"""Items that come after their job, on a clock that is only counted."""

import asyncio

import pytest

from app.domain.errors import Conflict
from app.service.admission import Limits
from app.service.appending import Appending
from app.service.jobs import Jobs
from tests.builders import a_block, a_job
from tests.simulation.loop import START
from tests.simulation.scheduled import Scheduled, scheduled

BLOCKS = [a_block(first, 3) for first in range(0, 300, 3)]


async def _opened(service: Scheduled) -> Appending:
    """Into the job `j`, which has no items yet."""
    service.dispatcher.paused_pools.add("cpu")
    job = a_job(total=0, task="work", sealed=False, created_at=START)
    await service.store.create_job(job, [])
    service.dispatcher.submitted(job)
    jobs = Jobs(service.store, service.dispatcher, service.engine, service.clock, Limits(10, 1_000))
    return Appending(jobs, service.store, service.dispatcher, service.clock, 1_000)


def test_items_that_are_sent_again_are_compared_with_turns_for_others() -> None:
    """As many as a body may hold: to look at all of them at once takes longer than the loop may be held."""
    told = []

    async def story(service: Scheduled) -> None:
        appending = await _opened(service)
        told.append(await appending.append("j", BLOCKS))
        again = asyncio.ensure_future(appending.append("j", BLOCKS))
        turns = 0
        while not again.done():
            await asyncio.sleep(0)
            turns += 1
        told.append(await again)
        told.append(turns)

    scheduled(story)

    assert told[:2] == [300, 300]
    assert told[2] > len(BLOCKS)


def test_other_items_than_there_are_change_nothing() -> None:
    """Nor do those that came with them, though they would be the next."""

    async def story(service: Scheduled) -> None:
        appending = await _opened(service)
        await appending.append("j", BLOCKS[:10])
        other = [*BLOCKS[:9], a_block(27, 3)]
        other[4] = type(other[4])(other[4].first, 3, b"1\n2\n3\n")
        with pytest.raises(Conflict, match="other items"):
            await appending.append("j", [*other, *BLOCKS[10:]])
        assert service.dispatcher.live["j"].job.counts.total == 30

    scheduled(story)
