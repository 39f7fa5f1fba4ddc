"""The items of a job again, as they were sent: all, or those that came to this or that end.

How it works: what was asked for becomes ranges of indexes, read off the result log by index, a page at a time; the
ranges are then cut out of the job's blocks.

Invariant: memory is a page of results and a block of items; what ends without an error is complete.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.domain.errors import NotFound
from app.domain.groups import group_of_line
from app.domain.item import Outcome, Segment, is_failure
from app.domain.job import Job
from app.domain.store import JobStore
from app.service.items import BlockReader
from app.service.jobs import Jobs

PIECE_BYTES = 64 << 10
"""Lines are handed on in pieces of at least about this."""
PAGE_BYTES = 256 << 10
PAGE_RANGES = 1_000
RANGES_AT_ONCE = 250
"""Before others have the loop."""

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
        """The lines of the selected items, in input order; of a job that lives, as it is when they are read.

        NotFound if the job is deleted meanwhile.
        """
        parts: list[bytes] = []
        size = 0
        reader: BlockReader | None = None
        number = 0
        async for first, stop in self._ranges(job, selection):
            number += 1
            if number % RANGES_AT_ONCE == 0:
                await asyncio.sleep(0)
            while first < stop:
                if reader is None or first not in reader:
                    reader = await self._reader(job, first)
                lines, count = reader.take(first, stop - first, sys.maxsize, exactly=True)
                first += count
                size += len(lines)
                parts.append(lines)
                if size >= PIECE_BYTES:
                    yield b"".join(parts)
                    parts, size = [], 0
        if parts:
            yield b"".join(parts)
        await self._still_there(job)

    async def _reader(self, job: Job, index: int) -> BlockReader:
        block = await self._store.read_block(job.id, index)
        await self._still_there(job)
        if block is None:
            raise _gone(job)
        return BlockReader(block)

    async def _still_there(self, job: Job) -> None:
        """Asked after something was read: before, the job could be deleted and its id taken by another caller."""
        if (await self._jobs.get(job.id)).job.created_at != job.created_at:
            raise _gone(job)

    def _ranges(self, job: Job, selection: Selection) -> AsyncIterator[tuple[int, int]]:
        """(first, stop) of the selected items, in order."""
        match selection.select:
            case "failed":
                return self._ended(job, "failed", selection.error_group)
            case "succeeded":
                return self._ended(job, "succeeded", None)
            case "unfinished":
                return self._without_result(job, job.counts.total)
            case "cancelled":
                return self._without_result(job, job.counts.total if job.status.finished else 0)
            case "all":
                return _one(0, job.counts.total)

    async def _ended(self, job: Job, outcome: Outcome, group: str | None) -> AsyncIterator[tuple[int, int]]:
        index = 0
        while segments := await self._store.segments_from(job.id, index, outcome, bytes_max=PAGE_BYTES):
            # In a thread: to group a thousand failures takes longer than the loop may be held up.
            for chosen in await asyncio.to_thread(_chosen, segments, outcome, group):
                yield chosen
            index = segments[-1].first + segments[-1].count

    async def _without_result(self, job: Job, total: int) -> AsyncIterator[tuple[int, int]]:
        position = 0
        while position < total:
            page = await self._store.done_ranges(job.id, position, PAGE_RANGES)
            for first, count in [*page, (total, 0)] if len(page) < PAGE_RANGES else page:
                if position < min(first, total):
                    yield position, min(first, total)
                position = max(position, first + count)


def _chosen(segments: Iterable[Segment], outcome: Outcome, group: str | None) -> list[tuple[int, int]]:
    """The ranges (first, stop) of items with this outcome, and of this group."""
    ranges: list[tuple[int, int]] = []
    for first, stop in (found for segment in segments for found in _ranges_in(segment, outcome, group)):
        if ranges and ranges[-1][1] == first:
            ranges[-1] = (ranges[-1][0], stop)
        else:
            ranges.append((first, stop))
    return ranges


def _ranges_in(segment: Segment, outcome: Outcome, group: str | None) -> Iterator[tuple[int, int]]:
    if group is None and segment.failed == (segment.count if outcome == "failed" else 0):
        yield segment.first, segment.first + segment.count
        return
    for index, line in enumerate(segment.lines.splitlines(), start=segment.first):
        failed = is_failure(line)
        if failed == (outcome == "failed") and (group is None or group_of_line(line).id == group):
            yield index, index + 1


async def _one(first: int, stop: int) -> AsyncIterator[tuple[int, int]]:
    yield first, stop


def _gone(job: Job) -> NotFound:
    return NotFound(f"Job {job.id!r} was deleted while its items were read.")
