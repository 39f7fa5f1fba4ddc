"""Time and ids as arguments."""

import random
import time
from datetime import UTC, datetime
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
_random_bits = random.Random().getrandbits
"""Of our own: if somebody seeds the one that all share, ids must not come again."""
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]


def new_id(now: datetime) -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 random ones; sorts by time of creation.

    It tells jobs apart and is no secret, so it need not cost a call of the system for its randomness.
    """
    value = int(now.timestamp() * 1000) << 80 | _random_bits(80)
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
