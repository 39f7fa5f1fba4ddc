"""Whenever Python looks for garbage nobody is served: it is to find little to look at, and all the garbage there is."""

import gc
import weakref

from app.main import put_aside
from tests.simulation.scheduled import Scheduled, scheduled

JOBS = 500
OBJECTS_MAX = 4
"""That Python looks at, for each job that waits."""


def test_a_job_that_waits_is_few_objects() -> None:
    """However many wait, to look at them all takes a moment: what a job does not use yet is not made yet."""
    numbers: list[int] = []

    async def story(service: Scheduled) -> None:
        running = [await service.submit(1e9) for _ in range(20)]
        numbers.append(_looked_at())
        waiting = [await service.submit(1.0, 1.0, 1.0) for _ in range(JOBS)]
        numbers.append(_looked_at())
        assert {live.job.counts.total for live in waiting} == {3}
        assert len(service.dispatcher.live) == len(running) + JOBS

    scheduled(story)

    assert (numbers[1] - numbers[0]) / JOBS <= OBJECTS_MAX


def test_what_becomes_garbage_after_the_start_is_collected() -> None:
    """What was there by then is not looked at any more, but what knows only each other goes as ever, by itself."""

    class Knowing:
        itself: "Knowing"

    def made() -> weakref.ref[Knowing]:
        knowing = Knowing()
        knowing.itself = knowing
        return weakref.ref(knowing)

    try:
        gc.disable()  # as the start does
        put_aside()
        gone = made()
        kept = [[number] for number in range(10 * gc.get_threshold()[0])]
    finally:
        gc.enable()
        gc.unfreeze()

    assert gone() is None, f"{len(kept)} other objects were made since"


def _looked_at() -> int:
    """How many objects a full collection looks at."""
    gc.collect()
    return len(gc.get_objects())
