"""The estimated end of a job that has a limit of its own, which most of the time wants no worker."""

import asyncio

import pytest

from app.domain.throttle import Throttle
from app.service.admission import Limits
from app.service.jobs import Jobs
from tests.simulation.scheduled import Scheduled, scheduled

EVERY_SECONDS = 0.26
"""Not in step with items of 100 ms."""


def ends(in_flight: int, seconds: int) -> list[float]:
    """When it is said that a job of 50 s alone will end, once another has come, at each look; and when it does."""
    told: list[float] = []

    async def story(service: Scheduled) -> None:
        loop = asyncio.get_running_loop()
        jobs = Jobs(service.store, service.dispatcher, service.engine, service.clock, Limits(10, 1_000_000))
        live = await service.submit(*[100.0] * (500 * in_flight), max_in_flight=in_flight)
        await asyncio.sleep(20.0)
        other = await service.submit(*[20.0] * 20_000)
        for _ in range(int(seconds / EVERY_SECONDS)):
            await asyncio.sleep(EVERY_SECONDS)
            eta = jobs.view(live).eta_seconds
            assert eta is not None
            told.append(loop.time() + eta)
        await service.end(live)
        told.append(loop.time())
        await service.dispatcher.cancel(other)

    scheduled(story)
    return told


def test_the_end_of_a_job_that_is_at_its_limit_is_told_as_if_it_wanted_more() -> None:
    """As it soon does: with one that could use all workers, half of the pace is reckoned with at once."""
    *told, end = ends(in_flight=2, seconds=10)

    assert {round(each / end, 1) for each in told} == {1.0}


def test_a_job_that_cannot_use_more_than_it_is_due_ends_no_later_for_others() -> None:
    """One of two workers is all it can have at a time, and that is left to it."""
    *told, _ = ends(in_flight=1, seconds=5)

    assert max(told) < 60.0


@pytest.mark.parametrize(
    ("concurrency", "rate", "places"),
    [(None, None, float("inf")), (3, None, 3.0), (None, 10.0, 5.0), (3, 10.0, 3.0), (9, 10.0, 5.0)],
)
def test_a_task_lets_so_many_items_run_side_by_side(
    concurrency: int | None, rate: float | None, places: float
) -> None:
    """Of half a second each; of what is not known to take any time, as many as may run."""
    throttle = Throttle(concurrency, rate, now=0.0)

    assert throttle.places(0.5) == places
    assert throttle.places(None) == (concurrency or float("inf"))
