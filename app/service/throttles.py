"""The tasks that limit themselves, and the jobs that wait for that.

How it works: a job whose task may start nothing now steps aside, out of the way of others, and waits here in the
order of fair sharing.  An end of an item, or a timer at the moment of the next token, lets as many go on as may.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.clock import Clock
from app.domain.share import WEIGHTS, FairShare
from app.domain.throttle import Limit, Throttle
from app.service.live import LiveJob


@dataclass(slots=True)
class _Limited:
    """A task with limits."""

    throttle: Throttle
    waiting: FairShare[LiveJob] = field(default_factory=FairShare)
    let_go: set[LiveJob] = field(default_factory=set)
    """Those that need not wait any more and have not started anything since."""
    timer: asyncio.TimerHandle | None = None


class _ByTask(dict[str, _Limited | None]):
    """By task, what is looked up when it is first asked for; None where it has no limits, as most."""

    def __init__(self, tasks: Callable[[], Mapping[str, Mapping[str, Any]]], clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock

    def __missing__(self, name: str) -> _Limited | None:
        limits = self._tasks().get(name, {}).get("limits") or {}
        most, rate = limits.get("max_concurrency"), limits.get("starts_per_second")
        throttle = Throttle(most, rate, now=self._clock.monotonic())
        self[name] = limited = _Limited(throttle) if most or rate else None
        return limited


class Throttles:
    """Which jobs may start items, as far as their tasks' limits go."""

    def __init__(
        self,
        tasks: Callable[[], Mapping[str, Mapping[str, Any]]],
        clock: Clock,
        on_allowed: Callable[[LiveJob], None],
        on_time: Callable[[], None],
    ) -> None:
        """`on_allowed` hears which job need not wait here any more; `on_time` that a timer has let some go on."""
        self._clock = clock
        self._on_allowed = on_allowed
        self._on_time = on_time
        self._limited = _ByTask(tasks, clock)

    def __contains__(self, live: LiveJob) -> bool:
        """Whether the job waits here."""
        limited = self._limited[live.job.task]
        return limited is not None and live in limited.waiting

    def allowed(self, live: LiveJob) -> int | None:
        """How many of the job's items may go to a worker together now; None if its task has no limits."""
        limited = self._limited[live.job.task]
        return None if limited is None else limited.throttle.allowed(self._clock.monotonic())

    def limit(self, live: LiveJob) -> Limit | None:
        """Which limit the job waits for, if it does."""
        if live not in self:
            return None
        limited = self._limited[live.job.task]
        assert limited is not None
        return limited.throttle.limit(self._clock.monotonic())

    def places(self, live: LiveJob) -> float:
        """How many of its items its task's limits let run side by side."""
        limited = self._limited[live.job.task]
        return math.inf if limited is None else limited.throttle.places(live.chunker.seconds_per_item)

    def wait(self, live: LiveJob) -> None:
        """The job waits until its task may start something."""
        limited = self._limited[live.job.task]
        assert limited is not None
        limited.let_go.discard(live)
        limited.waiting.join(live, WEIGHTS[live.job.options.priority], live.virtual_time)
        self._arm(limited)

    def leave(self, live: LiveJob) -> None:
        """The job wants nothing for now, and somebody else may have its turn; harmless if it does not wait."""
        if (limited := self._limited[live.job.task]) is not None:
            limited.waiting.leave(live)
            if live in limited.let_go:
                limited.let_go.remove(live)
                self._let_go(limited)

    def started(self, live: LiveJob, items: int) -> None:
        """So many of the job's items go to a worker, as one chunk."""
        if (limited := self._limited[live.job.task]) is not None:
            limited.throttle.started(items)
            limited.let_go.discard(live)

    def ended(self, live: LiveJob, unstarted: int) -> None:
        """No worker has this chunk of the job any more; `unstarted` of its items were not started."""
        if (limited := self._limited[live.job.task]) is not None:
            limited.throttle.give_back(unstarted)
            limited.throttle.ended()
            self._let_go(limited)

    def give_back(self, live: LiveJob, items: int) -> None:
        """So many items that a worker has will not start there."""
        if (limited := self._limited[live.job.task]) is not None:
            limited.throttle.give_back(items)
            self._let_go(limited)

    def stop(self) -> None:
        for limited in self._limited.values():
            if limited is not None and limited.timer is not None:
                limited.timer.cancel()

    def _let_go(self, limited: _Limited) -> None:
        """As many as may start something go on."""
        openings = limited.throttle.openings(self._clock.monotonic())
        while len(limited.let_go) < openings and (live := limited.waiting.first()) is not None:
            limited.waiting.leave(live)
            if live.wants_worker:
                limited.let_go.add(live)
                self._on_allowed(live)
        self._arm(limited)

    def _arm(self, limited: _Limited) -> None:
        """Look again when time alone lets the next one start."""
        if limited.timer is not None or limited.waiting.first() is None:
            return
        delay = limited.throttle.seconds_until_allowed(self._clock.monotonic())
        if delay is not None:
            limited.timer = asyncio.get_running_loop().call_later(delay, self._timer, limited)

    def _timer(self, limited: _Limited) -> None:
        limited.timer = None
        self._let_go(limited)
        self._on_time()
