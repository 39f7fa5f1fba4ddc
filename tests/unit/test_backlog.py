"""What waits for the store is bounded."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.domain.item import Segment
from app.service import backlog
from app.service.writer import RESULTS_MAX
from tests.simulation.scheduled import Scheduled, scheduled
from tests.unit.stuck import MUCH_LATER_SECONDS, StuckStore

ITEMS = 2_000
HELD_BYTES = 4 << 10
OWN_BYTES = 400


class _CountingStore(StuckStore):
    """Knows how many segments it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []

    async def append_results(self, segments: Sequence[Segment], *arguments: Any) -> None:
        await super().append_results(segments, *arguments)
        self.written.append(len(segments))


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "BYTES_MAX", HELD_BYTES)
    monkeypatch.setattr(backlog, "OWN_BYTES_MAX", OWN_BYTES)
    monkeypatch.setattr(backlog, "ALL_BYTES_MAX", 2 * HELD_BYTES)


def test_no_item_starts_of_a_job_of_which_too_many_results_wait_for_the_store() -> None:
    """What is with workers then comes to its end; the rest runs once the store has caught up."""
    store = StuckStore()
    begun: list[int] = []

    async def story(service: Scheduled) -> None:
        live = await service.submit(*[10.0] * ITEMS)
        await asyncio.sleep(MUCH_LATER_SECONDS)
        begun.append(len(service.ran(live)))
        assert service.dispatcher.backlog.stops(live)
        assert HELD_BYTES < service.dispatcher.backlog.bytes < 2 * HELD_BYTES
        store.free.set()
        await service.end(live)
        begun.append(len(service.ran(live)))

    scheduled(story, store)

    assert begun[0] < ITEMS
    assert begun[1] == ITEMS


def test_whose_results_are_few_goes_on_beside_a_job_that_has_filled_what_may_wait() -> None:
    """Also one that filled some of it before, and is told only by its own next results that there is no room."""
    store = StuckStore()
    items = 10

    async def story(service: Scheduled) -> None:
        second = await service.submit(*[10.0] * ITEMS)
        await asyncio.sleep(0.2)
        first = await service.submit(*[10.0] * ITEMS)
        await asyncio.sleep(MUCH_LATER_SECONDS)
        assert service.dispatcher.backlog.stops(first)
        assert service.dispatcher.backlog.stops(second)
        small = await service.submit(*[10.0] * items)
        await asyncio.sleep(MUCH_LATER_SECONDS)
        assert len(service.ran(small)) == items
        store.free.set()
        await service.end(first, second, small)

    told = scheduled(story, store)

    assert len(told.engine.ran) == 2 * ITEMS + items


def test_however_many_results_wait_so_many_are_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have the loop in between; the order of each job's results is as it was."""
    monkeypatch.setattr(backlog, "OWN_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(backlog, "ALL_BYTES_MAX", 1 << 20)
    store = _CountingStore()

    async def story(service: Scheduled) -> None:
        lives = [await service.submit(*[10.0] * RESULTS_MAX, chunksize=1) for _ in range(2)]
        await asyncio.sleep(MUCH_LATER_SECONDS)
        store.free.set()
        await service.end(*lives)

    scheduled(story, store)

    assert max(store.written) == RESULTS_MAX
    assert sum(store.written) == 2 * RESULTS_MAX


def test_what_waits_is_bounded_whoever_it_is_from() -> None:
    """Many jobs, each of which has little among it, are held up too; those that come then run once it is stored."""
    store = StuckStore()
    items, jobs = 8, 100

    async def story(service: Scheduled) -> None:
        lives = [await service.submit(*[10.0] * items) for _ in range(jobs)]
        await asyncio.sleep(MUCH_LATER_SECONDS)
        assert max(live.bytes_unwritten for live in lives) < OWN_BYTES
        assert 2 * HELD_BYTES < service.dispatcher.backlog.bytes < 3 * HELD_BYTES
        begun = len(service.engine.ran)
        assert begun < jobs * items
        late = await service.submit(10.0)
        await asyncio.sleep(MUCH_LATER_SECONDS)
        assert len(service.engine.ran) == begun
        store.free.set()
        await service.end(*lives, late)
        assert service.dispatcher.backlog.bytes == 0
        assert {live.bytes_unwritten for live in lives} == {0}

    scheduled(story, store)
