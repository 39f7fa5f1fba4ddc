"""How fast a job goes, and when it will be done.

Honest: nothing is said before there is something to say.
"""

from dataclasses import dataclass

RESULTS_MIN = 20
SECONDS_MIN = 5.0
_WINDOW_SECONDS = 10.0


@dataclass(slots=True)
class Rate:
    """Items per second over the last ten seconds or so, from (time, done) readings, half a second apart or more."""

    readings: list[tuple[float, int]]
    before: int = 0
    """Results that were there at the start."""

    @classmethod
    def starting(cls, now: float, done: int) -> "Rate":
        """Results that are there already, from before a restart, say nothing about the speed."""
        return cls([(now, done)], done)

    def note(self, now: float, done: int) -> None:
        """`done` results are there at `now`; times never go back."""
        if len(self.readings) > 1 and now - self.readings[-2][0] < 1.0:
            self.readings.pop()
        self.readings.append((now, done))
        while len(self.readings) > 2 and now - self.readings[1][0] > _WINDOW_SECONDS:
            self.readings.pop(0)

    def items_per_second(self, now: float) -> float | None:
        """None before the first result since the start."""
        since, earlier = self.readings[0]
        done = self.readings[-1][1]
        if done == self.before or now <= since:
            return None
        return (done - earlier) / (now - since)

    def eta_seconds(self, now: float, left: int) -> float | None:
        """None before 20 results or 5 seconds, and when nothing moves."""
        done = self.readings[-1][1] - self.before
        rate = self.items_per_second(now)
        if not rate or (done < RESULTS_MIN and now - self.readings[0][0] < SECONDS_MIN):
            return None
        return left / rate
