"""What waits for the store is bounded."""

import asyncio

import pytest

from app.service import dispatcher
from tests.simulation.scheduled import Scheduled, scheduled
from tests.unit.stuck import MUCH_LATER_SECONDS, StuckStore

ITEMS = 2_000
HELD_BYTES = 4 << 10


def test_no_item_starts_while_too_many_results_wait_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is with workers then comes to its end; the rest runs once the store has caught up."""
    monkeypatch.setattr(dispatcher, "PENDING_BYTES_MAX", HELD_BYTES)
    store = StuckStore()
    begun: list[int] = []

    async def story(service: Scheduled) -> None:
        live = await service.submit(*[10.0] * ITEMS)
        await asyncio.sleep(MUCH_LATER_SECONDS)
        begun.append(len(service.ran(live)))
        assert service.dispatcher.backlog
        assert HELD_BYTES < service.dispatcher.bytes_unwritten < 2 * HELD_BYTES
        store.free.set()
        await service.end(live)
        begun.append(len(service.ran(live)))

    scheduled(story, store)

    assert begun[0] < ITEMS
    assert begun[1] == ITEMS
