"""How many items travel together.

Start with one, or with what took next to no time lately, grow towards `TARGET_SECONDS` of measured work, shrink near
the end so that no worker idles.  A job that has the workers to itself is cut into fewer, longer chunks, which go back
when another comes.  A job's own `chunksize` is obeyed.  No client can observe any of this in an outcome.
"""

from typing import Literal

import msgspec

TARGET_SECONDS = 0.050
ALONE_SECONDS = 0.300
"""Of a job that nobody waits behind."""
FLOOR_SECONDS = 0.002
"""A chunk shorter than this costs more to send than it saves at the end of a job."""
FIRST_MAX = 64
"""So many make up the first chunk of a job whose task's items were tiny lately; these may not be."""
GROWTH = 4
SMOOTHING = 0.4
ITEMS_MAX = 65_536
LIGHT_SECONDS = 100e-6
"""What is done for an item by itself costs a hundredth of this, and more on a busy machine, where an item also seems
to take several times as long: smaller ones run together, a millisecond at a time.
"""
BYTES_MAX = 1 << 20


_GOLDEN = 0.6180339887
"""Its multiples, without their whole parts, lie as far from each other as can be."""


def staggered(seconds: float, number: int) -> float:
    """At least half of this, and at most all of it, another part for each chunk.

    Workers whose chunks all took the same would all be free at the same moment, and who comes after that waited for a
    whole chunk.
    """
    return seconds * (1 + number * _GOLDEN % 1) / 2


class Chunker(msgspec.Struct, gc=False):
    """The sizes of one job's chunks, from what its finished chunks took."""

    _chunksize: int | Literal["auto"]
    _largest: int = 0
    _reports: int = 0
    seconds_per_item: float | None = None
    """Estimated worker time of one item; None before the first report."""

    def report(self, count: int, seconds: float) -> None:
        """`count` items took a worker `seconds`."""
        measured = max(seconds / count, 1e-8)
        self._reports += 1
        self._largest = max(self._largest, count)
        if self.seconds_per_item is None:
            self.seconds_per_item = measured
        else:
            # The first reports are averaged, so that one odd item does not stand for the job.
            weight = max(SMOOTHING, 1 / self._reports)
            self.seconds_per_item += weight * (measured - self.seconds_per_item)

    def size(
        self, left: int, workers: int, seconds: float = TARGET_SECONDS, usual_seconds: float | None = None
    ) -> int:
        """How many of the `left` items to send next, to take a worker `seconds` at most; at least 1.

        `usual_seconds` are what an item of the task took lately, in whatever job.
        """
        if self._chunksize != "auto":
            return min(self._chunksize, left)
        if self.seconds_per_item is None:
            tiny = int(FLOOR_SECONDS / usual_seconds) if usual_seconds else 1
            return max(1, min(tiny, FIRST_MAX, left))
        wanted = int(seconds / self.seconds_per_item)
        grown = min(wanted, GROWTH * self._largest, ITEMS_MAX)
        tail = max(-(-left // (2 * workers)), int(FLOOR_SECONDS / self.seconds_per_item))
        return max(1, min(grown, tail, left))

    @property
    def light(self) -> bool:
        """Whether items are so small that several should share what is done for each."""
        return self.seconds_per_item is not None and self.seconds_per_item < LIGHT_SECONDS

    def estimate(self, count: int) -> float | None:
        """Seconds that `count` items will take a worker; None when unknown."""
        return None if self.seconds_per_item is None else self.seconds_per_item * count
