"""A job's results in summary: what its failures have in common, and how long its items took.

How it works: a digest follows the log.  Failures are looked at one by one; among the rest, only lines that tell a time,
which lines of items under `QUICK_MS` do not.  A segment without failures and times costs one search through its bytes.

Invariant: a digest is what it would be had the log been read in one go; its size does not grow with the log.
"""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from app.domain.groups import Group, group_of
from app.domain.item import Segment, holds, is_failure, keyless

GROUPS_MAX = 32
"""The first so many troubles are told apart; later ones are only counted."""
SAMPLES_MAX = 10
SLOWEST_MAX = 10
TOP_MAX = 3
"""Groups that stand in every Job."""
QUICK_MS = 1.0
"""Shorter durations are not told by result lines."""
STEP_FAILURES = 32
"""About a millisecond's work."""
STEP_BYTES = 1 << 20
STEP_PLACES = 200
"""At which a time may stand; as long."""
STEP_LINES_BYTES = 32 << 10
"""Of lines that have to be told from failures one by one; as long."""

_BUCKETS_PER_DOUBLING = 8
"""So that a middle is at most 4.5 % off."""
_DURATION = b',"duration_ms":'
_TOOK = re.compile(rb',"duration_ms":(\d+\.\d)\}\n')
_INDEX = re.compile(rb'\{"index":(\d+)')
_UNTIMED = frozenset({"crashed", "timeout", "out_of_memory"})
"""Kinds of failure whose worker may have ended with the item, and its clock with it."""


class Tally(msgspec.Struct, frozen=True, gc=False):
    """The failures of one group."""

    group: Group
    count: int
    first_at: datetime | None
    """When the first was stored; None if that is not known any more."""
    last_at: datetime | None
    samples: tuple[int, ...]
    """Indexes of the first few."""

    @property
    def short(self) -> dict[str, Any]:
        """As it stands in a Job."""
        group = self.group
        told = {"group": group.id, "kind": group.kind, "type": group.type, "message": group.message}
        return told | {"count": self.count, "sample_index": self.samples[0]}


class Timings(msgspec.Struct, frozen=True, gc=False):
    """How long items took that took `QUICK_MS` or more; times in milliseconds."""

    buckets: dict[int, int]
    """How many, by `bucket_of` their time."""
    slowest: tuple[tuple[float, int], ...] = ()
    """(time, index), slowest first."""
    untimed: int = 0
    """Results without a time, quick or not."""

    @property
    def slow(self) -> int:
        """How many items took `QUICK_MS` or more."""
        return sum(self.buckets.values())

    def quantile(self, share: float, results: int) -> float | None:
        """The time within which this share of `results` was done; None if that is under `QUICK_MS`, or of none.

        Nearest rank; exact among the slowest, else within 4.5 %.
        """
        timed = results - self.untimed
        rank = math.ceil(share * timed)
        from_top = timed - rank
        if not 0 < rank <= timed or rank <= timed - self.slow:
            return None
        if from_top < len(self.slowest):
            return self.slowest[from_top][0]
        seen = timed - self.slow
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank:
                middle: float = 2.0 ** ((bucket + 0.5) / _BUCKETS_PER_DOUBLING)
                return round(min(middle, self.slowest[-1][0]), 1)
        raise AssertionError("a rank beyond the results")


def bucket_of(ms: float) -> int:
    return math.floor(math.log2(max(ms, QUICK_MS)) * _BUCKETS_PER_DOUBLING)


class Digest(msgspec.Struct, frozen=True, gc=False):
    """Of one job's log, from its line `done_before` on: what stood before that was never looked at."""

    job_id: str
    done_before: int = 0
    failed_before: int = 0
    failures: int = 0
    """How many were looked at."""
    tallies: tuple[Tally, ...] = ()
    timings: Timings = Timings({})

    @property
    def by_frequency(self) -> Sequence[Tally]:
        """Most frequent first; of equal ones those that came first."""
        return sorted(self.tallies, key=lambda tally: -tally.count)

    @property
    def top(self) -> tuple[dict[str, Any], ...]:
        """The most frequent groups, as they stand in a Job."""
        return tuple(tally.short for tally in self.by_frequency[:TOP_MAX])

    @property
    def others(self) -> int:
        """Failures of groups that are not told apart."""
        return self.failures - sum(tally.count for tally in self.tallies)


class Digesting:
    """A digest on its way over new segments of its job's log."""

    def __init__(self, digest: Digest, now: datetime | None) -> None:
        """`now` is when the segments are stored."""
        self._digest = digest
        self._now = now
        self._tallies = {tally.group.id: tally for tally in digest.tallies}
        self._buckets = dict(digest.timings.buckets)
        self._slowest = list(digest.timings.slowest)
        self._untimed = digest.timings.untimed
        self._failures = digest.failures

    @property
    def digest(self) -> Digest:
        """With all that was looked at."""
        return replace(
            self._digest,
            failures=self._failures,
            tallies=tuple(self._tallies.values()),
            timings=Timings(self._buckets, tuple(self._slowest), self._untimed),
        )

    def over(self, segments: Sequence[Segment]) -> Iterator[None]:
        """Look at these in steps of about a millisecond; each yield is a good moment to let others work."""
        size = 0
        for segment in segments:
            start = 0
            while start < len(segment.lines):
                stop, places = self._time(segment.lines, start, min(start + STEP_BYTES, len(segment.lines)))
                size += stop - start + places * (STEP_BYTES // STEP_PLACES)
                start = stop
                if size >= STEP_BYTES:
                    size = 0
                    yield
            if segment.failed:
                yield from self._count(segment.lines)

    def _time(self, lines: bytes, start: int, stop: int) -> tuple[int, int]:
        """Note the times that are told between these offsets, wherever they end.

        How far it came, which if there are many is not to the end, and at how many places a time may stand.
        """
        end, places = stop + len(_DURATION) - 1, 0
        place = lines.find(_DURATION, start, end)
        while place >= 0:
            if places == STEP_PLACES:
                return place, places
            places += 1
            took = _TOOK.match(lines, place)  # else it stands within an output
            if took is not None:
                ms = float(took[1])
                bucket = bucket_of(ms)
                self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
                if len(self._slowest) < SLOWEST_MAX or ms > self._slowest[-1][0]:
                    index = _INDEX.match(lines, lines.rfind(b"\n", 0, place) + 1)
                    assert index is not None, "a result line starts with its index"
                    self._slowest.append((ms, int(index[1])))
                    self._slowest.sort(key=lambda entry: -entry[0])
                    del self._slowest[SLOWEST_MAX:]
            place = lines.find(_DURATION, place + 1, end)
        return stop, places

    def _count(self, lines: bytes) -> Iterator[None]:
        """Count the failures among the lines."""
        found: dict[str, tuple[Group, list[int]]] = {}
        number = end = 0
        while end < len(lines):
            # Most lines may be no failures, which to find out takes a while too.
            start, end = end, lines.find(b"\n", end + STEP_LINES_BYTES) + 1 or len(lines)
            for line in filter(is_failure, lines[start:end].splitlines()):
                failure = _decode(keyless(line) if len(line) > STEP_LINES_BYTES else line)
                group = group_of(failure.error)
                found.setdefault(group.id, (group, []))[1].append(failure.index)
                self._untimed += failure.duration_ms is None and group.kind in _UNTIMED
                number += 1
                if number % STEP_FAILURES == 0:
                    yield
            yield
        for group, indexes in found.values():
            self._tally(group, indexes)

    def _tally(self, group: Group, indexes: Sequence[int]) -> None:
        """Failures of these items, in the order of the log, are of the group."""
        self._failures += len(indexes)
        tally = self._tallies.get(group.id)
        if tally is None:
            if len(self._tallies) == GROUPS_MAX:
                return
            tally = Tally(group, 0, self._now, self._now, ())
        samples = (*tally.samples, *indexes[:SAMPLES_MAX])[:SAMPLES_MAX]
        count = tally.count + len(indexes)
        self._tallies[group.id] = replace(tally, count=count, last_at=self._now, samples=samples)


def is_telling(segment: Segment) -> bool:
    """Whether there is anything in it for a digest; of what is too large for one step, there may be."""
    if segment.failed or len(segment.lines) > STEP_BYTES:
        return True
    return holds(segment.lines, _DURATION, rare=b"_")


class _Failure(msgspec.Struct):
    index: int
    error: dict[str, Any]
    duration_ms: float | None = None


_decode = msgspec.json.Decoder(_Failure).decode
