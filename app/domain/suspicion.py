"""Items that must not share a mark: one of them ended a worker, and nobody knows which.

They run again uncharged, one by one, so that if it happens again the culprit is known.
"""

RANGES_MAX = 64
"""A job that has lost more workers than this runs all its items one by one."""


class Suspects:
    """Ranges of items of one job."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def add(self, first: int, stop: int) -> None:
        """One of items `first` … `stop - 1` is to blame for a loss."""
        self._ranges.append((first, stop))

    def among(self, first: int, stop: int) -> bool:
        """Whether any of these items is one."""
        if len(self._ranges) > RANGES_MAX:
            return True
        return any(first < end and begin < stop for begin, end in self._ranges)
