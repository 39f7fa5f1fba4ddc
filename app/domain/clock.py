"""Time and ids as arguments."""

import os
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
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(now: datetime) -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 random ones; sorts by time of creation."""
    value = int(now.timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
