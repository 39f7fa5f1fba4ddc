"""What was known of very many items goes in turns of the loop, with others served between."""

import asyncio
from collections import deque
from typing import Any

import pytest

from app.domain.retry import Trouble
from app.service.release import AT_ONCE, release
from tests.simulation.scheduled import Scheduled, scheduled

MANY = 5 * AT_ONCE + 1


@pytest.mark.parametrize("kind", [list, deque, set, dict.fromkeys])
def test_much_is_let_go_some_at_a_time(kind: Any) -> None:
    """However it is kept."""
    left: list[int] = []

    async def story() -> None:
        thing = kind(range(MANY))
        release(thing)
        while thing:
            left.append(len(thing))
            await asyncio.sleep(0)

    asyncio.run(story())

    assert left == [MANY - turn * AT_ONCE for turn in range(1, 6)]


def test_a_job_that_ends_lets_go_of_items_that_wait_for_a_retry_in_turns() -> None:
    """They are dropped at once, though, and do not run."""
    left: list[int] = []

    async def story(service: Scheduled) -> None:
        live = await service.submit(*[1e9] * 4)
        kept = live.postponed, live.troubles
        live.postponed.update(range(4, MANY))
        live.troubles.update({index: Trouble(1) for index in range(4, MANY)})
        cancelling = asyncio.ensure_future(service.dispatcher.cancel(live))
        await asyncio.sleep(0)
        assert not live.postponed
        left.append(len(kept[0]))
        await cancelling
        await service.end(live)
        left.append(len(kept[1]))
        await asyncio.sleep(1.0)
        left.extend(map(len, kept))

    scheduled(story)

    assert left[0] >= AT_ONCE
    assert left[1] >= AT_ONCE
    assert left[2:] == [0, 0]
