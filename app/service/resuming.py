"""After a restart: which items of a job have no result, and what happened to them before.

Invariant: others get the loop in between, however long the log and the notes are.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

from app.domain.item import holes
from app.domain.retry import Trouble
from app.domain.store import JobStore, Note
from app.service.live import LiveJob

AT_ONCE = 1_000
"""More ranges and notes than this are looked at by a thread."""


async def resume(store: JobStore, live: LiveJob) -> None:
    """Find that out, and tell the job."""
    notes = await store.notes(live.job.id)
    done = await store.done_ranges(live.job.id)
    total = live.job.counts.total
    if len(notes) + len(done) > AT_ONCE:
        found = await asyncio.to_thread(waiting, total, done, notes)
    else:
        found = waiting(total, done, notes)
    live.resume(total, *found)


def waiting(
    total: int, done: Sequence[tuple[int, int]], notes: Sequence[Note]
) -> tuple[int, list[tuple[int, int]], dict[int, Trouble]]:
    """How many of `range(total)` have no result; their ranges (first, stop) without those that failed before; and
    what befell these, in the order of the notes.  `done` are (first, count) pairs, sorted.
    """
    troubles: dict[int, Trouble] = {}
    for note in notes:
        if note.error is not None:
            trouble = troubles.setdefault(note.index, Trouble())
            trouble.attempts += 1
            trouble.deaths += note.death
    indexes = sorted(troubles)
    left: list[tuple[int, int]] = []
    alone: set[int] = set()
    for first, stop in holes(total, done):
        for index in indexes[bisect_left(indexes, first) : bisect_left(indexes, stop)]:
            if first < index:
                left.append((first, index))
            alone.add(index)
            first = index + 1
        if first < stop:
            left.append((first, stop))
    number = sum(stop - first for first, stop in left) + len(alone)
    return number, left, {index: trouble for index, trouble in troubles.items() if index in alone}
