"""How many items should travel together: three rules on the same costs, on a clock that is only counted.

Ours is the service's own (`app.domain.chunking`), with what its pool does besides: a second chunk behind a short one
or, of who is alone, after a long one, and taking back what waits behind something long (`workers.slot`). The others
are re-told from what their documentation and behaviour say: `multiprocessing.Pool.map` cuts four chunks for each
worker before it knows anything; joblib's automatic batching doubles until a batch takes 0.2 s. Both keep chunks in
one queue, from which whoever is free takes the next at once, and take nothing back. Nothing is run or measured, so
the outcome is the same on every machine, and a test may hold us to it.
"""

import heapq
import itertools
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean
from typing import Protocol

from app.domain.chunking import ALONE_SECONDS, TARGET_SECONDS, Chunker
from app.service.scheduler import SHORT_SECONDS
from bench.makespan import costs_of, ideal_seconds, in_order_seconds
from bench.scale import WORKERS
from workers.rounds import WATCH_SECONDS
from workers.slot import HELD_UP_SECONDS, LONG_ALONE_SECONDS, LONG_SECONDS

TRIP_SECONDS = 300e-6
"""A worker that has ended a chunk waits this long for its next one, unless that is there already."""
KINDS: Mapping[str, tuple[int, float]] = {
    "uniform": (400, 10.0),
    "uniform, half": (2000, 10.0),
    "lognormal": (2000, 5.0),
    "growing": (2000, 5.0),
    "bimodal": (2000, 5.0),
}
"""Of each kind of costs, how many items and how many milliseconds on average (`bench.costs`)."""
DRAWS = 10
"""Of costs that are drawn: where a long one comes late is luck."""


class Rule(Protocol):
    """Cuts chunks out of one job."""

    def size(self, left: int) -> int: ...
    def report(self, count: int, seconds: float) -> None: ...
    def follows(self, count: int, before: int) -> bool:
        """Whether a chunk of so many may be sent to a worker that has one of so many."""
        ...

    def kept_seconds(self, count: int) -> float:
        """After which time what has not begun of such a chunk goes back, though nobody is idle."""
        ...

    @property
    def common_queue(self) -> bool:
        """Whether chunks are cut ahead, two for each worker, whoever is free takes the next, and none comes back."""
        ...


class Ours:
    """The service's rule."""

    common_queue = False

    def __init__(self, items: int, workers: int) -> None:
        del items
        self._workers = workers
        self._chunker = Chunker("auto")

    def size(self, left: int) -> int:
        return self._chunker.size(left, self._workers, ALONE_SECONDS)

    def report(self, count: int, seconds: float) -> None:
        self._chunker.report(count, seconds)

    def follows(self, count: int, before: int) -> bool:
        short = all((self._chunker.estimate(n) or SHORT_SECONDS) < SHORT_SECONDS for n in (count, before))
        whole = (self._chunker.estimate(count) or 0.0) > ALONE_SECONDS / 2
        return short or (whole and self._is_long(before))

    def kept_seconds(self, count: int) -> float:
        return LONG_ALONE_SECONDS if self._is_long(count) else LONG_SECONDS

    def _is_long(self, count: int) -> bool:
        return (self._chunker.estimate(count) or 0.0) > TARGET_SECONDS


class _Queued:
    """What the rules of others have in common."""

    common_queue = True

    def follows(self, count: int, before: int) -> bool:  # noqa: ARG002
        return True

    def kept_seconds(self, count: int) -> float:  # noqa: ARG002
        return math.inf


class FourEach(_Queued):
    """`Pool.map`: the job cut into four chunks for each worker; all of them wait in the workers' common queue."""

    def __init__(self, items: int, workers: int) -> None:
        self._size = -(-items // (4 * workers))

    def size(self, left: int) -> int:
        return min(self._size, left)

    def report(self, count: int, seconds: float) -> None: ...


class Doubling(_Queued):
    """joblib: batches of one at first; towards 0.2 s, at most doubled at a time; shared out among the workers."""

    _SECONDS_MIN, _SECONDS_MAX = 0.2, 2.0

    def __init__(self, items: int, workers: int) -> None:
        del items
        self._workers = workers
        self._batch = 1
        self._cut: deque[int] = deque()
        self._smoothed = 0.0

    def size(self, left: int) -> int:
        if not self._cut:
            together = min(left, self._batch * self._workers)
            size = max(1, together // self._workers)
            self._cut.extend([size] * (together // size))
        return min(left, self._cut.popleft())

    def report(self, count: int, seconds: float) -> None:
        if count != self._batch:
            return
        self._smoothed = 0.8 * self._smoothed + 0.2 * seconds if self._smoothed else seconds
        old, ideal = self._batch, int(self._batch * self._SECONDS_MIN / self._smoothed)
        if self._smoothed < self._SECONDS_MIN:
            self._batch = max(1, min(2 * old, 2 * ideal))
        elif self._smoothed > self._SECONDS_MAX and old >= 2:
            self._batch = max(1, 2 * ideal)
        if self._batch != old:
            self._smoothed = 0.0


RULES: Mapping[str, Callable[[int, int], Rule]] = {
    "Millpond": Ours,
    "Pool.map": FourEach,
    "joblib": Doubling,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """In seconds."""

    makespan: float
    first_at: float
    """When the first chunk had ended."""
    chunks: int


@dataclass(frozen=True, slots=True)
class Average:
    """Of as many draws."""

    over_ideal: float
    """The makespan as a ratio to the best there could be."""
    over_in_order: float
    """And to that of items handed out one by one, for nothing."""
    first_at: float
    chunks: float


@dataclass(slots=True)
class _Worker:
    queue: deque[tuple[int, int]] = field(default_factory=deque)
    """Ranges (first, stop) of items; it runs the first."""
    began: float = 0.0
    turn: int = 0
    """An end that was foreseen in another turn does not come."""
    late: bool = False
    kept_seconds: float = math.inf


class _Run:
    """One job on its way."""

    def __init__(self, costs: Sequence[float], workers: int, rule: Rule) -> None:
        self._sums = [0.0, *itertools.accumulate(costs)]
        self._rule = rule
        self._todo = deque([(0, len(costs))])
        self._left = len(costs)
        self._workers = [_Worker() for _ in range(workers)]
        self._ready: deque[tuple[int, int]] = deque()
        """What was cut and is with no worker yet."""
        self._ends: list[tuple[float, int, int]] = []
        """(when, which worker, its turn)."""
        self._now = 0.0
        self._first_at: float | None = None
        self._chunks = 0

    def outcome(self) -> Outcome:
        """Run it to its end."""
        tick = WATCH_SECONDS
        self._fill()
        while self._ends:
            if not self._rule.common_queue and tick < self._ends[0][0]:
                self._now, tick = tick, tick + WATCH_SECONDS
                self._share()
            else:
                at, number, turn = heapq.heappop(self._ends)
                if self._workers[number].turn == turn:
                    self._now = at
                    self._end(number)
            self._fill()
        assert self._first_at is not None
        return Outcome(self._now, self._first_at, self._chunks)

    def _fill(self) -> None:
        """Give every worker what it has room for, the idle ones first."""
        if self._rule.common_queue:
            self._fill_from_queue()
            return
        for behind in (False, True):
            for number, worker in enumerate(self._workers):
                if not self._left or len(worker.queue) != behind or (behind and worker.late):
                    continue
                size = self._rule.size(self._left)
                if behind and not self._rule.follows(size, _count(worker.queue[0])):
                    continue
                worker.queue.append(self._cut(size))
                if not behind:
                    self._begin(number, TRIP_SECONDS)

    def _fill_from_queue(self) -> None:
        out = sum(len(worker.queue) for worker in self._workers) + len(self._ready)
        while self._left and out < 2 * len(self._workers):
            self._ready.append(self._cut(self._rule.size(self._left)))
            out += 1
        for number, worker in enumerate(self._workers):
            if self._ready and not worker.queue:
                worker.queue.append(self._ready.popleft())
                self._begin(number, 0.0)

    def _cut(self, size: int) -> tuple[int, int]:
        first, stop = self._todo.popleft()
        size = min(size, stop - first)
        if first + size < stop:
            self._todo.appendleft((first + size, stop))
        self._left -= size
        self._chunks += 1
        return first, first + size

    def _begin(self, number: int, trip: float) -> None:
        worker = self._workers[number]
        worker.began, worker.late = self._now + trip, False
        worker.kept_seconds = self._rule.kept_seconds(_count(worker.queue[0]))
        self._foresee(number)

    def _foresee(self, number: int) -> None:
        worker = self._workers[number]
        worker.turn += 1
        first, stop = worker.queue[0]
        end = worker.began + self._sums[stop] - self._sums[first]
        heapq.heappush(self._ends, (end, number, worker.turn))

    def _end(self, number: int) -> None:
        worker = self._workers[number]
        done = worker.queue.popleft()
        self._rule.report(_count(done), self._now - worker.began)
        self._first_at = self._first_at if self._first_at is not None else self._now
        if worker.queue:
            self._begin(number, 0.0)

    def _share(self) -> None:
        """Take back what waits behind something long."""
        idle = any(not worker.queue for worker in self._workers)
        for number, worker in enumerate(self._workers):
            took = self._now - worker.began
            if not worker.queue or took < HELD_UP_SECONDS:
                continue
            worker.late = worker.kept_seconds <= max(took, LONG_SECONDS)
            if not (idle or (len(worker.queue) > 1 and worker.late) or took >= worker.kept_seconds):
                continue
            while len(worker.queue) > 1:
                self._back(*worker.queue.pop())
            first, stop = worker.queue[0]
            running = bisect_right(self._sums, self._sums[first] + took, first, stop) - 1
            if running + 1 < stop:
                worker.queue[0] = first, running + 1
                self._back(running + 1, stop)
                self._foresee(number)

    def _back(self, first: int, stop: int) -> None:
        self._todo.appendleft((first, stop))
        self._left += stop - first


def _count(chunk: tuple[int, int]) -> int:
    return chunk[1] - chunk[0]


def simulate(costs: Sequence[float], workers: int, rule: str) -> Outcome:
    """What becomes of items of these costs, in seconds, under a rule."""
    return _Run(costs, workers, RULES[rule](len(costs), workers)).outcome()


@cache
def average(kind: str, workers: int, rule: str) -> Average:
    """What becomes of jobs of this kind."""
    draws = [costs_of(kind, *KINDS[kind], draw) for draw in range(DRAWS)]
    outcomes = [simulate([ms / 1000 for ms in costs], workers, rule) for costs in draws]
    pairs = list(zip(outcomes, draws, strict=True))
    return Average(
        fmean(outcome.makespan / ideal_seconds(costs, workers) for outcome, costs in pairs),
        fmean(outcome.makespan / in_order_seconds(costs, workers) for outcome, costs in pairs),
        fmean(outcome.first_at for outcome in outcomes),
        fmean(outcome.chunks for outcome in outcomes),
    )


def main() -> None:
    """Print the table."""
    head = ("over ideal", "over in order", "first, ms", "chunks")
    print(f"{'costs':<16}{'workers':>8}  {'rule':<10}" + "".join(f"{cell:>15}" for cell in head))
    for kind, workers in itertools.product(KINDS, (WORKERS, 8)):
        for rule in RULES:
            its = average(kind, workers, rule)
            ratios = f"{its.over_ideal:>15.3f}{its.over_in_order:>15.3f}"
            print(
                f"{kind:<16}{workers:>8}  {rule:<10}{ratios}{its.first_at * 1000:>15.1f}{its.chunks:>15.0f}"
            )


if __name__ == "__main__":
    main()
