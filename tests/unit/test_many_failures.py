"""To look at failures takes longer than all else that is done for results: nobody waits until all are looked at."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.domain.errors import StorageUnavailable
from app.domain.item import Segment
from app.service.writer import FAILURES_MAX, JOBS_MAX
from tests.simulation.fate import Item
from tests.simulation.scheduled import Scheduled, scheduled
from tests.unit.stuck import MUCH_LATER_SECONDS, StuckStore

FAILURES = 20 * FAILURES_MAX


class HeldStore(StuckStore):
    """One that says how many failures it was given."""

    def failures(self, job_id: str) -> int:
        return sum(segment.failed for segment in self.log(job_id))


async def failed(service: Scheduled, store: HeldStore, *others: str) -> None:
    """A job of which everything fails, and others of one item with this fate; all have run, and nothing is stored."""
    await service.submit(*[Item(n, "fail", ms=1.0) for n in range(FAILURES)])
    for fate in others:
        await service.submit(Item(0, fate, ms=1.0))
    await asyncio.sleep(MUCH_LATER_SECONDS)
    assert len(service.engine.ran) == FAILURES + len(others)
    assert not store.failures("job-0")


def test_a_cancellation_is_answered_before_failures_are_looked_at() -> None:
    """It is stored at once, and they come after it."""
    store = HeldStore()
    stored: list[int] = []

    async def story(service: Scheduled) -> None:
        await failed(service, store)
        live = service.dispatcher.live["job-0"]
        cancel = asyncio.create_task(service.dispatcher.cancel(live))
        store.free.set()
        await cancel
        job = await store.get_job("job-0")
        assert job is not None
        assert job.cancel_requested_at is not None
        stored.append(store.failures("job-0"))
        await service.end(live)
        assert live.job.counts.failed == store.failures("job-0") == FAILURES

    scheduled(story, store)

    assert stored[0] < FAILURES_MAX


def test_failures_are_kept_if_a_change_in_between_cannot_be_stored() -> None:
    """It is tried again, and they are looked at again."""

    class Failing(HeldStore):
        failed = False

        async def append_results(self, segments: Sequence[Segment], *rest: Any) -> None:
            if not segments and not self.failed:
                self.failed = True
                raise StorageUnavailable("simulated")
            await super().append_results(segments, *rest)

    store = Failing()

    async def story(service: Scheduled) -> None:
        await failed(service, store)
        live = service.dispatcher.live["job-0"]
        cancel = asyncio.create_task(service.dispatcher.cancel(live))
        store.free.set()
        await cancel
        await service.end(live)
        assert store.failed
        assert live.job.counts.failed == store.failures("job-0") == FAILURES

    scheduled(story, store)


@pytest.mark.parametrize("fate", ["ok", "fail"])
def test_the_results_of_other_jobs_are_stored_before_all_failures_of_one(fate: str) -> None:
    """What fails in them as well, though it takes its turn."""
    store = HeldStore()
    stored: list[int] = []

    async def story(service: Scheduled) -> None:
        await failed(service, store, fate)
        failing, other = service.dispatcher.live.values()
        store.free.set()
        await service.end(other)
        stored.append(store.failures("job-0"))
        await service.end(failing)
        assert failing.job.counts.failed == store.failures("job-0") == FAILURES

    scheduled(story, store)

    assert stored[0] < 4 * FAILURES_MAX


def test_jobs_that_fail_take_turns() -> None:
    """However many failures of the first wait, those of the second do not come after the last of them."""
    store = HeldStore()
    stored: list[int] = []

    async def story(service: Scheduled) -> None:
        await failed(service, store)
        second = await service.submit(*[Item(n, "fail", ms=1.0) for n in range(2 * FAILURES_MAX)])
        await asyncio.sleep(MUCH_LATER_SECONDS)
        store.free.set()
        await service.end(second)
        stored.append(store.failures("job-0"))

    scheduled(story, store)

    assert stored[0] < 8 * FAILURES_MAX


def test_a_change_that_is_waited_for_is_stored_before_those_of_many_others() -> None:
    """Which nobody waits for."""
    store = HeldStore()
    ended: list[int] = []

    async def story(service: Scheduled) -> None:
        service.dispatcher.paused_pools.add("cpu")
        lives = [await service.submit(1.0, job_timeout_seconds=1.0) for _ in range(5 * JOBS_MAX)]
        last = await service.submit(1.0)
        await asyncio.sleep(MUCH_LATER_SECONDS)
        cancel = asyncio.create_task(service.dispatcher.cancel(last))
        await asyncio.sleep(MUCH_LATER_SECONDS / 1000)
        store.free.set()
        await cancel
        ended.append(sum(live.job.status.finished for live in lives))

    scheduled(story, store)

    assert ended[0] <= 2 * JOBS_MAX
