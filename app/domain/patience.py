"""A time limit that a job finds by itself: `item_timeout_seconds: "auto"`."""

from statistics import median

import msgspec

TIMES_MEDIAN = 10.0
SECONDS_MIN = 1.0
"""Below this the noise of the machine would decide."""
ITEMS_MIN = 20
SAMPLES_MAX = 101


class Patience(msgspec.Struct, gc=False):
    """Ten times the median of what items took lately; nothing before twenty of them."""

    _samples: tuple[float, ...] = ()
    """Plain, that nobody looks for garbage in them."""
    _items: int = 0

    def report(self, count: int, seconds: float) -> None:
        """A chunk of `count` items took this long in all."""
        self._items += count
        self._samples = (*self._samples[1 - SAMPLES_MAX :], seconds / count)

    @property
    def limit_seconds(self) -> float | None:
        if self._items < ITEMS_MIN:
            return None
        return max(SECONDS_MIN, TIMES_MEDIAN * median(self._samples))
