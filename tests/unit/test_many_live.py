"""What concerns all unfinished jobs at once, however many there are."""

import asyncio

from app.service.control import RUNG_AT_ONCE, Control
from app.service.live import LiveJob
from tests.builders import a_job
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
