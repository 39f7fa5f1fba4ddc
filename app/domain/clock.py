"""Time and ids as arguments."""

import random
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What the service knows of time."""

    def now(self) -> datetime:
        """The wall clock, in UTC: for people."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back: for waiting and measuring."""
        ...


class SystemClock:
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)


_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_random_bytes = random.Random().randbytes
"""Of our own: if somebody seeds the one that all share, ids must not come again."""
_LETTERS = bytes(ord(_CROCKFORD[byte % 32]) for byte in range(256))
"""A letter for each byte, each as often as the others."""
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]


def new_id(now: datetime) -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 random ones; sorts by time of creation.

    It tells jobs apart and is no secret, so it need not cost a call of the system for its randomness.
    """
    milliseconds = int(now.timestamp() * 1000)
    letters = _random_bytes(16).translate(_LETTERS).decode()
    return f"{_second(milliseconds >> 10)}{_PAIRS[milliseconds & 1023]}{letters}"


@lru_cache(maxsize=1)
def _second(count: int) -> str:
    """How many times 1,024 ms have passed, in eight letters: all ids of a second begin with the same."""
    return "".join([_PAIRS[count >> shift & 1023] for shift in (30, 20, 10, 0)])
