"""Items that must not share a mark: one of them ended a worker, and nobody knows which.

They run again uncharged, one by one, so that if it happens again the culprit is known.
"""

from collections.abc import Sequence

RANGES_MAX = 64
"""A job that has lost more workers than this runs all its items one by one."""


class Suspects:
    """Ranges (first, stop) of items of one job."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def add(self, ranges: Sequence[tuple[int, int]]) -> None:
        """One of the items in these is to blame for a loss; what stands between is suspected with them."""
        self._ranges.append(_around(ranges))

    def among(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """Whether any of these items is one."""
        if len(self._ranges) > RANGES_MAX:
            return True
        first, stop = _around(ranges)
        return any(first < end and begin < stop for begin, end in self._ranges)


def _around(ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The range from the first of these to the last."""
    return min(first for first, _ in ranges), max(stop for _, stop in ranges)
