"""Items that go to a worker together though others stand between them: those have their results already, or wait.

Invariant: of a job's log each segment is of contiguous items all the same.
"""

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, starmap

from app.domain.engine import Chunk
from app.domain.flags import MEANT, ended
from app.domain.item import cut
from app.domain.retry import Trouble

Range = tuple[int, int]
"""Of indexes: (first, stop)."""
Part = tuple[int, int, int, bytes, Sequence[str]]
"""Of a job's log: first index, how many, how many failures, lines, files."""

RANGES_MAX = 256
"""Of one chunk: each becomes a segment, and others have the loop before the next."""
LOOKED_AT = 256
"""Of the items that are tried again, so many are looked at for those that go together."""


def indexes(ranges: Iterable[Range]) -> Iterator[int]:
    """Of all items in these."""
    return chain.from_iterable(starmap(range, ranges))


def together(
    again: deque[int], troubles: Mapping[int, Trouble], block: Container[int], most: int
) -> list[Range]:
    """Of the items that are tried again, at most so many of this block that may go with the first one.

    What has ended a worker, or is to have all memory, goes by itself, what only failed with others as often as that.
    """
    trouble = troubles[again[0]]
    if trouble.deaths or trouble.alone:
        return [(again[0], again[0] + 1)]
    alike = (index for index in islice(again, LOOKED_AT) if index in block and troubles[index] == trouble)
    return [(index, index + 1) for index in sorted(islice(alike, most))]


def cut_off(todo: deque[Range], ranges: Iterable[Range]) -> None:
    """These, the first of what waits, are with a worker."""
    for begin, end in ranges:
        while begin < end:
            first, stop = todo.popleft()
            assert first == begin, "chunks are cut from the front"
            begin = min(stop, end)
        if begin < stop:
            todo.appendleft((begin, stop))


def take_out(again: deque[int], ranges: Iterable[Range]) -> None:
    """Some that go `together` are with a worker."""
    gone = set(indexes(ranges))
    looked_at = [again.popleft() for _ in range(min(LOOKED_AT, len(again)))]
    again.extendleft(index for index in reversed(looked_at) if index not in gone)


def segments(
    chunk: Chunk, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
) -> Iterable[Part]:
    """The results of items at places `first` … `first + count - 1`, parted where indexes are not contiguous.

    The files that any of the lines name are told of the first of them.
    """
    if not chunk.ranges:
        return ((first, count, failed, lines, files),)
    return _segments(chunk.among(first, first + count), count, failed, lines, files)


def _segments(
    ranges: Sequence[Range], count: int, failed: int, lines: bytes, files: Sequence[str]
) -> Iterator[Part]:
    start = 0
    for first, stop in ranges:
        end = cut(lines, start, stop - first)
        part = lines[start:end]
        failures = ended(part, "failed").count(MEANT) if 0 < failed < count else (stop - first) * bool(failed)
        yield first, stop - first, failures, part, files
        start, files = end, ()
