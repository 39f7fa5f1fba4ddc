"""Ends what runs of a job.

Workers may have thousands of its chunks, and telling each worker takes a while, so others get the loop in between.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

AT_ONCE = 100
"""Chunks, before others have the loop."""


class Ending:
    """Tells the first of the chunks at once, and goes on by itself; `end` says of each whether an item was running."""

    def __init__(self, end: Callable[[int], bool], chunk_ids: Iterable[int]) -> None:
        self._end = end
        self._left = deque(chunk_ids)
        self._signalled = 0
        self._all = asyncio.Event()
        self._go_on()

    def _go_on(self) -> None:
        for _ in range(min(AT_ONCE, len(self._left))):
            self._signalled += self._end(self._left.popleft())
        if self._left:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._all.set()

    async def signalled(self) -> int:
        """How many items were running, once all were told."""
        await self._all.wait()
        return self._signalled
