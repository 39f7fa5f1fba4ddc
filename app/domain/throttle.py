"""The limits a task sets itself: how many of its items run at once, and how often they start.

A token bucket: a token comes every 1/rate seconds, and each start takes one.  It holds few, so that a quiet hour
does not end in a storm: in any `t` seconds at most `rate * (t + BURST_SECONDS)` items start, or one more.
"""

import math
from typing import Literal

from app.domain.chunking import ITEMS_MAX

BURST_SECONDS = 0.1
"""What a full bucket holds, in time; at least one token."""
GRAIN_SECONDS = 0.010
"""Where tokens come faster than this, several are waited for together."""
_ROUNDING = 1e-9

Limit = Literal["max_concurrency", "rate_limit"]


class Bucket:
    """Tokens for starts; times are monotonic seconds."""

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._tokens = self._most
        self._at = now

    def tokens(self, now: float) -> int:
        """How many items may start now."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        return int(self._tokens + _ROUNDING)

    def take(self, count: int) -> None:
        """So many start."""
        self._tokens -= count

    def give_back(self, count: int) -> None:
        """So many did not start after all."""
        self._tokens = min(self._most, self._tokens + count)

    def seconds_until_next(self, now: float) -> float:
        """When it is worth to look again; 0 if there is a token."""
        if self.tokens(now) >= 1:
            return 0.0
        wanted = min(self._most, max(1.0, self.per_second * GRAIN_SECONDS))
        return (wanted - self._tokens) / self.per_second


class Throttle:
    """Both limits of one task, for all its jobs together."""

    def __init__(self, max_concurrency: int | None, starts_per_second: float | None, *, now: float) -> None:
        self._max_concurrency = max_concurrency
        self._bucket = None if starts_per_second is None else Bucket(starts_per_second, now)
        self._running = 0

    def openings(self, now: float) -> int:
        """How many workers may start on something now."""
        free = ITEMS_MAX if self._max_concurrency is None else max(0, self._max_concurrency - self._running)
        return free if self._bucket is None else min(free, self._bucket.tokens(now))

    def allowed(self, now: float) -> int:
        """How many items may go to a worker together now."""
        if self.openings(now) == 0:
            return 0
        return ITEMS_MAX if self._bucket is None else self._bucket.tokens(now)

    def places(self, seconds_per_item: float | None) -> float:
        """How many items its jobs can have run side by side, if one takes so long."""
        most = math.inf if self._max_concurrency is None else float(self._max_concurrency)
        if self._bucket is None or seconds_per_item is None:
            return most
        return min(most, self._bucket.per_second * seconds_per_item)

    def limit(self, now: float) -> Limit | None:
        """Which limit is reached."""
        if self._max_concurrency is not None and self._running >= self._max_concurrency:
            return "max_concurrency"
        if self._bucket is not None and self._bucket.tokens(now) < 1:
            return "rate_limit"
        return None

    def started(self, items: int) -> None:
        """So many go to a worker, which runs one of them at a time."""
        self._running += 1
        if self._bucket is not None:
            self._bucket.take(items)

    def give_back(self, items: int) -> None:
        """So many of what a worker has will not start there."""
        if self._bucket is not None:
            self._bucket.give_back(items)

    def ended(self) -> None:
        """A worker is through with what it was given."""
        self._running -= 1

    def seconds_until_allowed(self, now: float) -> float | None:
        """When time alone will let the next start; None if that takes an end."""
        if self._bucket is None or self.limit(now) == "max_concurrency":
            return None
        return self._bucket.seconds_until_next(now)
