"""The part of a text that is being looked at, while the text arrives.

Invariant: it holds what has not been passed over yet, or is kept, and the latest piece; nothing else.
"""

import re
from collections.abc import AsyncIterator


class Window:
    """Bytes of a text; `at` is where the reader stands among those that are held."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()
        self._before = 0
        self._kept: int | None = None
        self.at = 0
        self.ended = False
        """Whether all of the text came."""

    @property
    def place(self) -> int:
        """How many bytes of the text are before the reader."""
        return self._before + self.at

    async def fill(self, size: int) -> int:
        """Have so many bytes at hand, or all there are; their number."""
        while len(self._held) - self.at < size and not self.ended:
            self._let_go()
            try:
                self._held += await anext(self._pieces)
            except StopAsyncIteration:
                self.ended = True
        return len(self._held) - self.at

    def head(self, size: int) -> bytes:
        """What comes next, as far as it is at hand."""
        with memoryview(self._held) as held:
            return bytes(held[self.at : self.at + size])

    def length(self, pattern: re.Pattern[bytes], size: int) -> int:
        """How much of the next bytes the pattern takes, beginning with the first."""
        found = pattern.match(self._held, self.at, self.at + size)
        return found.end() - self.at if found else 0

    def keep(self, bytes_max: int) -> None:
        """Hold what comes from here on, until it is asked for; but not if it grows larger than that."""
        self._kept, self._kept_max = self.at, bytes_max
        self._dropped = 0
        self._dropped_lines = False

    @property
    def kept_bytes(self) -> int:
        """How much was passed since `keep`."""
        return self._dropped + self.at - self._held_from()

    @property
    def kept_lines(self) -> bool:
        """Whether a newline was passed since `keep`."""
        return self._dropped_lines or self._held.find(b"\n", self._held_from(), self.at) >= 0

    def kept(self, end: bytes = b"") -> bytes:
        """What was passed since `keep`, and this."""
        assert not self._dropped
        with memoryview(self._held) as held:
            return b"".join((held[self._held_from() : self.at], end))

    def let_go(self) -> None:
        """What was passed is not wanted any more."""
        self._kept = None
        self._let_go()

    def _held_from(self) -> int:
        assert self._kept is not None
        return self._kept

    def _let_go(self) -> None:
        if self._kept is not None and self.kept_bytes > self._kept_max:
            self._dropped, self._dropped_lines = self.kept_bytes, self.kept_lines
            self._kept = self.at
        passed = self.at if self._kept is None else self._kept
        del self._held[:passed]
        self._before += passed
        self.at -= passed
        if self._kept is not None:
            self._kept = 0
