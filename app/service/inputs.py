"""The items of a job again, as they were sent: all of them, or those with a certain outcome.

How it works: the request becomes stretches of items, read off the result log by index, a page at a time, which are then
cut out of the job's blocks.  Where wanted items alternate with others, a byte for each says which is which (`flags`),
so that a million of them are not cut out one by one.

Invariant: memory is a page of results and a block of items; what ends without an error is complete.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.domain.errors import NotFound
from app.domain.flags import MEANT, OTHER, ended, in_group, meant, runs
from app.domain.item import Outcome, Segment
from app.domain.job import Job
from app.domain.store import JobStore
from app.service.intake import Lines, parts_of
from app.service.items import BlockReader, read_joined
from app.service.jobs import Jobs

PIECE_BYTES = 64 << 10
"""Lines are handed on in pieces of at least about this."""
PAGE_BYTES = 1 << 20
PAGE_RANGES = 1_000
STRIP_BYTES = 64 << 10
"""Of results, what is looked at together."""
TAKES_AT_ONCE = 250
"""Before others have the loop."""
FLAGS_PER_TAKE = 64
"""To choose from so many items costs what it does to cut out some."""
FLAGS_MAX = 16 << 10

Stretch = tuple[int, int, bytes]
"""Items from `first` up to `stop`: those that are meant, by flags, or if there are none, all."""
Select = Literal["all", "failed", "succeeded", "cancelled", "unfinished"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items: `cancelled` are those that the end of their job cut off, `unfinished` those without a result.

    Of a finished job these two are the same, of one that lives nothing is `cancelled`.
    """

    select: Select = "all"
    error_group: str | None = None
    """Of the failed, only those of this group."""


class Inputs:
    """Reads items back."""

    def __init__(self, store: JobStore, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    def of(self, jobs: Jobs) -> "Inputs":
        """Those of these jobs: the ones that a caller sees."""
        return Inputs(self._store, jobs)

    async def lines(self, job: Job, selection: Selection) -> AsyncIterator[bytes]:
        """The lines of `pieces`, in small ones."""
        async for piece in self.pieces(job, selection, PIECE_BYTES):
            yield piece.text

    async def pieces(self, job: Job, selection: Selection, piece_bytes: int) -> AsyncIterator[Lines]:
        """The lines of the selected items, in input order, in pieces of at least so many bytes but for the last.

        Of a job that lives, as it is when they are read.  NotFound if the job is deleted meanwhile.
        """
        parts: list[bytes] = []
        count = size = takes = 0
        reader: BlockReader | None = None
        async for first, stop, flags in self._stretches(job, selection):
            takes += 1 + len(flags) // FLAGS_PER_TAKE
            if takes >= TAKES_AT_ONCE:
                await asyncio.sleep(0)
                takes = 0
            index = first
            while index < stop:
                if reader is None or index not in reader:
                    reader = await self._reader(job, index)
                lines, number = reader.take(index, stop - index, sys.maxsize, exactly=True)
                chosen = flags[index - first : index - first + number]
                index += number
                if OTHER in chosen:
                    lines, number = meant(lines, chosen), chosen.count(MEANT)
                parts.append(lines)
                count, size = count + number, size + len(lines)
                if size >= piece_bytes:
                    yield Lines(count, b"".join(parts))
                    parts, count, size = [], 0, 0
        if parts:
            yield Lines(count, b"".join(parts))
        await self._still_there(job)

    async def _reader(self, job: Job, index: int) -> BlockReader:
        block = await read_joined(self._store, job.id, index)
        await self._still_there(job)
        if block is None:
            raise _gone(job)
        return BlockReader(block)

    async def _still_there(self, job: Job) -> None:
        """Asked after something was read: before, the job could be deleted and its id taken by another caller."""
        if (await self._jobs.get(job.id)).job.created_at != job.created_at:
            raise _gone(job)

    async def _stretches(self, job: Job, selection: Selection) -> AsyncIterator[Stretch]:
        """Those of the selected items, in order."""
        match selection.select:
            case "all":
                yield 0, job.counts.total, b""
                return
            case "failed" | "succeeded" as outcome:
                pages = self._ended(job, outcome, selection.error_group)
            case "unfinished":
                pages = self._without_result(job, job.counts.total)
            case "cancelled":
                pages = self._without_result(job, job.counts.total if job.status.finished else 0)
        async for page in pages:
            for stretch in _together(page):
                yield stretch

    async def _ended(self, job: Job, outcome: Outcome, group: str | None) -> AsyncIterator[Iterable[Stretch]]:
        index = 0
        while segments := await self._store.segments_from(job.id, index, outcome, bytes_max=PAGE_BYTES):
            if group is None:
                yield _ended_so(segments, outcome)
            else:
                # In a thread: to group a thousand failures takes longer than the loop may be held up.
                yield await asyncio.to_thread(_of_group, segments, group)
            index = segments[-1].first + segments[-1].count

    async def _without_result(self, job: Job, total: int) -> AsyncIterator[Iterable[Stretch]]:
        position = 0
        while position < total:
            page = await self._store.done_ranges(job.id, position, PAGE_RANGES)
            left: list[Stretch] = []
            for first, count in [*page, (total, 0)] if len(page) < PAGE_RANGES else page:
                if position < min(first, total):
                    left.append((position, min(first, total), b""))
                position = max(position, first + count)
            yield left


def _ended_so(segments: Iterable[Segment], outcome: Outcome) -> Iterator[Stretch]:
    """The items with this outcome."""
    for segment in segments:
        first, stop = segment.first, segment.first + segment.count
        if segment.failed == (segment.count if outcome == "failed" else 0):
            yield first, stop, b""
            continue
        for strip in parts_of(segment.lines, STRIP_BYTES):
            flags = ended(strip, outcome)
            yield first, first + len(flags), flags
            first += len(flags)


def _of_group(segments: Iterable[Segment], group: str) -> list[Stretch]:
    """The items whose failures are in this group."""
    return [(s.first, s.first + s.count, in_group(s.lines, group)) for s in segments]


def _together(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """The same, of which those that are small and near to each other are one, and those with few flags several."""
    parts: list[bytes] = []
    begin = end = 0
    for first, stop, flags in stretches:
        small = flags or (MEANT * (stop - first) if stop - first <= FLAGS_PER_TAKE else b"")
        if parts and not (small and first - end <= FLAGS_PER_TAKE and end - begin < FLAGS_MAX):
            yield from _parted(begin, b"".join(parts))
            parts.clear()
        if not small:
            yield first, stop, b""
            continue
        if parts:
            parts.append(OTHER * (first - end))
        else:
            begin = first
        parts.append(small)
        end = stop
    if parts:
        yield from _parted(begin, b"".join(parts))


def _parted(first: int, flags: bytes) -> Iterator[Stretch]:
    """The stretch of these flags, or if few are meant, one for each run of those."""
    if flags.count(MEANT) * FLAGS_PER_TAKE >= len(flags):
        yield first, first + len(flags), flags
    else:
        for start, stop in runs(flags):
            yield first + start, first + stop, b""


def _gone(job: Job) -> NotFound:
    return NotFound(f"Job {job.id!r} was deleted while its items were read.")
