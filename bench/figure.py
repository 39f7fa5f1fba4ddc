"""What was measured: one value for each run, beside those of the reference in the same runs.  Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class WrongResult(Exception):
    """The service answered, and not with what it should have; no figure is worth anything then."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: its ratio, or its value in its own unit."""

    bound: float
    of: Literal["ratio", "value"]
    sense: Literal["at most", "at least"] = "at most"

    def met_by(self, number: float) -> bool:
        return number <= self.bound if self.sense == "at most" else number >= self.bound


def ratio_at_most(bound: float) -> Target:
    return Target(bound, "ratio")


def at_most(bound: float) -> Target:
    return Target(bound, "value")


def at_least(bound: float) -> Target:
    return Target(bound, "value", "at least")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; the values told are medians.

    `what` and `against` together name it within its workload, and are the same at every scale.
    """

    what: str
    size: str
    values: Sequence[float]
    unit: str
    references: Sequence[float] = ()
    against: str = ""
    target: Target | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def reference(self) -> float | None:
        return statistics.median(self.references) if self.references else None

    @property
    def ratio(self) -> float | None:
        """Value by reference: of times what Millpond takes for each second of the other, of rates the reverse."""
        reference = self.reference
        return None if reference is None else self.value / reference

    @property
    def met(self) -> bool | None:
        """Whether it is what it should be; None if nobody said."""
        if self.target is None:
            return None
        number = self.ratio if self.target.of == "ratio" else self.value
        assert number is not None, f"{self.what}: a target for its ratio, and no reference"
        return self.target.met_by(number)


def is_rate(unit: str) -> bool:
    """Whether more of it is better."""
    return unit.endswith("/s")


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
