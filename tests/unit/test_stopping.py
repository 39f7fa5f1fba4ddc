"""What a service that stops still writes."""

import asyncio
from collections.abc import Sequence
from typing import Any

from app.domain.errors import StorageUnavailable
from app.domain.item import Segment
from app.domain.job import Status
from app.service.writer import PAUSE_SECONDS
from app.stores.memory import MemoryStore
from tests.simulation.scheduled import Scheduled, scheduled


class Slow(MemoryStore):
    """Takes a while for what others may take no time for; and can fail so many times."""

    failing = 0

    async def append_results(self, segments: Sequence[Segment], *rest: Any) -> None:
        await asyncio.sleep(PAUSE_SECONDS / 4)
        if self.failing:
            self.failing -= 1
            raise StorageUnavailable("The disk cannot be written to.")
        await super().append_results(segments, *rest)


def stopped(store: Slow, failing: int = 0) -> list[int]:
    """A job has a result, and two more as the next job begins; how many results were stored at once in the end."""

    async def story(service: Scheduled) -> None:
        live = await service.submit(*[1e9] * 4, chunksize=4)
        (chunk_id,) = live.chunks
        service.dispatcher.part(chunk_id, 0, 1, 0, b"{}\n", ())
        await asyncio.sleep(2.0)
        await service.submit(1e9)
        service.dispatcher.part(chunk_id, 1, 2, 0, b"{}\n{}\n", ())
        await asyncio.sleep(PAUSE_SECONDS / 2)
        store.failing = failing
        assert [segment.count for segment in store.log(live.job.id)] == [1]

    scheduled(story, store)

    old, _ = store.jobs()
    return [segment.count for segment in store.log(old.id)]


def test_what_waits_when_a_service_stops_is_stored_before_it_has_stopped() -> None:
    """Results that were to be written with others, and that a job began, however slow the disk is."""
    store = Slow()

    assert stopped(store) == [1, 2]

    old, new = store.jobs()
    assert (old.counts.succeeded, new.status, new.started_at is None) == (3, Status.RUNNING, False)


def test_a_service_that_stops_does_not_wait_for_a_disk_that_fails() -> None:
    """What cannot be written will be made again after the next start."""
    store = Slow()

    assert stopped(store, failing=3) == [1]

    old, new = store.jobs()
    assert (old.counts.succeeded, new.status, store.failing) == (1, Status.QUEUED, 2)
