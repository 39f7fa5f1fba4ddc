"""Wakes readers.

How it works: whoever changes something rings its bell; whoever waits says which ringing it has seen.  Nothing
is queued for anybody, so a slow reader costs nothing: when it comes back it reads what is there by then.
"""

import asyncio


class Bell:
    """Rings for everybody who waits; counts its rings so that none is missed between reading and waiting."""

    __slots__ = ("_waiting", "rings")

    def __init__(self) -> None:
        self.rings = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        """In the order they came, so that the same story has the same end (tests/simulation)."""

    @property
    def awaited(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def ring(self) -> None:
        self.rings += 1
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


class Watched:
    """What others wait for.  A bell is made when somebody first comes to it: of ten thousand jobs few are watched."""

    __slots__ = ("_bell", "_end")

    def __init__(self) -> None:
        self._bell: Bell | None = None
        self._end: Bell | None = None

    @property
    def bell(self) -> Bell:
        """Rings whenever something of it changes."""
        if self._bell is None:
            self._bell = Bell()
        return self._bell

    @property
    def end(self) -> Bell:
        """Rings once it has finished."""
        if self._end is None:
            self._end = Bell()
        return self._end

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for it to change."""
        return self._bell is not None and self._bell.awaited

    def ring(self) -> None:
        """Something of it has changed."""
        if self._bell is not None:
            self._bell.ring()

    def ring_end(self) -> None:
        """It has finished."""
        if self._end is not None:
            self._end.ring()

    def wake(self) -> None:
        """Have everybody who waits for it look, though nothing of it has changed."""
        for bell in (self._bell, self._end):
            if bell is not None:
                bell.ring()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
