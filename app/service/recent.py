"""The end of a running job's log, still in memory: for those who follow it, it need not be read back.

Invariant: what is here is stored, and is the log's end without a gap; so its bytes are those that the store has.
"""

from collections import deque
from dataclasses import dataclass

from app.domain.item import Page, Segment

JOB_BYTES_MAX = 4 << 20
ALL_BYTES_MAX = 32 << 20
ALONE_BYTES = 256 << 10
"""What is so large is a page as it is: to put more to it would copy it."""


@dataclass(slots=True)
class Room:
    """What all jobs together may keep."""

    bytes_left: int = ALL_BYTES_MAX


class Recent:
    """The last segments of one job."""

    def __init__(self) -> None:
        self._segments: deque[Segment] = deque()
        self._bytes = 0

    def add(self, segment: Segment, room: Room) -> None:
        """The log's next segment, which is stored; older ones go where there is no room for it."""
        size = len(segment.lines)
        while self._segments and (self._bytes + size > JOB_BYTES_MAX or size > room.bytes_left):
            self._drop_first(room)
        if size > min(room.bytes_left, JOB_BYTES_MAX):
            return  # and nothing is here any more, so that there is no gap
        self._segments.append(segment)
        self._bytes += size
        room.bytes_left -= size

    def release(self, room: Room) -> None:
        """The job is over: what is here stays only for those who hold it."""
        room.bytes_left += self._bytes

    def page(self, after: int, bytes_max: int) -> Page | None:
        """Whole segments after the first `after` lines of the log; None if they do not begin there, or are not here."""
        parts: list[bytes] = []
        count = size = 0
        for segment in self._segments:
            if segment.done_before == after + count:
                if parts and (size >= ALONE_BYTES or size + len(segment.lines) > bytes_max):
                    break
                parts.append(segment.lines)
                count += segment.count
                size += len(segment.lines)
        return Page(parts[0] if len(parts) == 1 else b"".join(parts), after, count) if parts else None

    def by_index(self, done: int, bytes_max: int) -> bytes | None:
        """All `done` lines of the log, in the order of their items; None if they are not all here, or too large."""
        if self._bytes > bytes_max:
            return None
        if len(self._segments) == 1:
            return self._segments[0].lines if self._segments[0].count == done else None
        if sum(segment.count for segment in self._segments) != done:
            return None
        return b"".join(
            segment.lines for segment in sorted(self._segments, key=lambda segment: segment.first)
        )

    def _drop_first(self, room: Room) -> None:
        size = len(self._segments.popleft().lines)
        self._bytes -= size
        room.bytes_left += size
