"""What a task's items took lately says how a new job of it begins, and whether another may wait behind it."""

import pytest

from app.domain.chunking import FIRST_MAX
from tests.simulation.scheduled import Scheduled, scheduled

WORKERS = 2
TINY = [0.01] * 100
"""Milliseconds."""


@pytest.mark.parametrize(
    ("before", "with_workers"),
    [
        ((), WORKERS),
        ((5.0,), 2 * WORKERS),
        ((50.0,), WORKERS),
        ((5.0, 5.0, 5.0, 15.0), WORKERS),
        ((50.0, 1.0), WORKERS),
        ((50.0, *[1.0] * 12), 2 * WORKERS),
    ],
    ids=["unknown", "short", "long", "long at last", "short at last", "short by and by"],
)
def test_a_second_job_is_sent_to_a_worker_if_the_first_will_be_short(
    before: tuple[float, ...], with_workers: int
) -> None:
    """So that the worker goes on at once; behind what may take long, or nobody knows, none waits."""

    async def story(service: Scheduled) -> None:
        for milliseconds in before:
            await service.end(await service.submit(milliseconds))
        jobs = [await service.submit(5.0) for _ in range(3 * WORKERS)]
        assert sum(live.out for live in jobs) == with_workers
        await service.end(*jobs)

    scheduled(story)


def test_a_job_of_tiny_items_is_sent_in_a_few_chunks_once_others_were() -> None:
    """To feel one's way costs more than they do."""

    async def story(service: Scheduled) -> None:
        first = await service.submit(*TINY)
        await service.end(first)
        second = await service.submit(*TINY)
        assert [chunk.count for chunk in second.chunks.values()] == [FIRST_MAX, len(TINY) - FIRST_MAX]
        await service.end(second)

    scheduled(story)


def test_another_task_says_nothing() -> None:
    """Each task has its own items."""

    async def story(service: Scheduled) -> None:
        await service.end(await service.submit(1.0, task="wait"))
        jobs = [await service.submit(5.0) for _ in range(3 * WORKERS)]
        assert sum(live.out for live in jobs) == WORKERS
        await service.end(*jobs)

    scheduled(story)
