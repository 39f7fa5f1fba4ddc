"""Wakes readers.

How it works: whoever changes something rings its bell; whoever waits says which ringing it has seen.  Nothing
is queued for anybody, so a slow reader costs nothing: when it comes back it reads what is there by then.
"""

import asyncio
from collections.abc import Callable


class Bell:
    """Rings for everybody who waits; counts its rings so that none is missed between reading and waiting."""

    def __init__(self, heard: Callable[[], None] = lambda: None) -> None:
        """`heard` is called at each ring."""
        self._heard = heard
        self.rings = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        """In the order they came, so that the same story has the same end (tests/simulation)."""

    def ring(self) -> None:
        self.rings += 1
        self._heard()
        for future in self._waiting:
            _wake(future)

    async def wait(self, seen: int, seconds: float) -> None:
        """Return when it has rung more than `seen` times, or after the time."""
        if self.rings != seen or seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, future)
        self._waiting[future] = None
        try:
            await future
        finally:
            timer.cancel()
            del self._waiting[future]


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
