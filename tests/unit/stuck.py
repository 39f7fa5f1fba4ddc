"""A store whose disk takes nothing."""

import asyncio
from typing import Any

from app.stores.memory import MemoryStore

MUCH_LATER_SECONDS = 600.0
"""On a simulated clock: whatever can happen while nothing is stored has happened by then."""


class StuckStore(MemoryStore):
    """It takes results once it is let go; each time that takes a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    async def append_results(self, *arguments: Any, **options: Any) -> None:
        await self.free.wait()
        await asyncio.sleep(0.001)
        await super().append_results(*arguments, **options)
