"""The end of a running job's log, still in memory: for those who follow it, it need not be read back.

Invariant: what is here is stored, and is the log's end without a gap; so its bytes are those that the store has.
"""

from dataclasses import dataclass

import msgspec

from app.domain.item import Page, Segment

JOB_BYTES_MAX = 4 << 20
ALL_BYTES_MAX = 32 << 20
ALONE_BYTES = 256 << 10
"""What is so large is a page as it is: to put more to it would copy it."""


@dataclass(slots=True)
class Room:
    """What all jobs together may keep."""

    bytes_left: int = ALL_BYTES_MAX


class Recent(msgspec.Struct, gc=False):
    """The last segments of one job."""

    _segments: dict[int, Segment] = msgspec.field(default_factory=dict)
    """By how many lines stand before it in the log; a dict, as Python looks for no garbage in one of plain values."""
    _first: int = 0
    """Of these, the one that came first."""
    _bytes: int = 0

    def add(self, segment: Segment, room: Room) -> None:
        """The log's next segment, which is stored; older ones go where there is no room for it."""
        size = len(segment.lines)
        while self._segments and (self._bytes + size > JOB_BYTES_MAX or size > room.bytes_left):
            self._drop_first(room)
        if size > min(room.bytes_left, JOB_BYTES_MAX):
            return  # and nothing is here any more, so that there is no gap
        if not self._segments:
            self._first = segment.done_before
        self._segments[segment.done_before] = segment
        self._bytes += size
        room.bytes_left -= size

    def release(self, room: Room) -> None:
        """The job is over: what is here stays only for those who hold it."""
        room.bytes_left += self._bytes

    def page(self, after: int, bytes_max: int) -> Page | None:
        """Whole segments after the first `after` lines of the log; None if they do not begin there, or are not here."""
        parts: list[bytes] = []
        count = size = 0
        while (segment := self._segments.get(after + count)) is not None:
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
        segments = sorted(self._segments.values(), key=lambda segment: segment.first)
        if sum(segment.count for segment in segments) != done:
            return None
        return segments[0].lines if len(segments) == 1 else b"".join(segment.lines for segment in segments)

    def _drop_first(self, room: Room) -> None:
        segment = self._segments.pop(self._first)
        self._first += segment.count
        self._bytes -= len(segment.lines)
        room.bytes_left += len(segment.lines)
