"""How fast a job goes, and when it will be done.

Nothing is said before there is something to go by.  The estimate for what is left uses the share of the workers that
the job has now, not the one it had while its pace was measured: so it moves at once when another job comes or goes, or
a priority changes.
"""

from itertools import pairwise

import msgspec

RESULTS_MIN = 20
SECONDS_MIN = 5.0
_WINDOW_SECONDS = 10.0


class Reading(msgspec.Struct, frozen=True, gc=False):
    at: float
    done: int
    share: float | None
    """Of its pool's worker time, which the job had until then; None if that is not known."""


class Rate(msgspec.Struct, gc=False):
    """Items per second over the last ten seconds or so, from readings half a second apart or more."""

    readings: tuple[Reading, ...]
    before: int = 0
    """Results that were there at the start."""

    @classmethod
    def starting(cls, now: float, done: int) -> "Rate":
        """Results that are there already, from before a restart, say nothing about the speed."""
        return cls((Reading(now, done, None),), done)

    def note(self, now: float, done: int, share: float | None = None) -> None:
        """`done` results are there at `now`; times never go back."""
        kept = self.readings
        if len(kept) > 1 and now - kept[-2].at < 1.0:
            kept = kept[:-1]
        kept = (*kept, Reading(now, done, share))
        while len(kept) > 2 and now - kept[1].at > _WINDOW_SECONDS:
            kept = kept[1:]
        self.readings = kept

    def items_per_second(self, now: float) -> float | None:
        """None before the first result since the start."""
        first, done = self.readings[0], self.readings[-1].done
        if done == self.before or now <= first.at:
            return None
        return (done - first.done) / (now - first.at)

    def eta_seconds(self, now: float, left: int, share: float | None = None) -> float | None:
        """With this share of the workers.  None before 20 results or 5 seconds, and when nothing moves."""
        done = self.readings[-1].done - self.before
        rate = self.items_per_second(now)
        if not rate or (done < RESULTS_MIN and now - self.readings[0].at < SECONDS_MIN):
            return None
        had = self._mean_share()
        return left / (rate * share / had if share and had else rate)

    def _mean_share(self) -> float | None:
        """Which share the job had while its pace was measured; None if that was never known."""
        spans = [
            (later.at - earlier.at, later.share)
            for earlier, later in pairwise(self.readings)
            if later.share is not None
        ]
        seconds = sum(span for span, _ in spans)
        return sum(span * share for span, share in spans) / seconds if seconds else None
