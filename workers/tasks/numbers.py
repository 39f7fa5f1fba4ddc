"""Sums small enough to show what a job costs, and `echo` to show what an item is."""

import math
import time
from typing import Any

from workers import task


@task
def echo(value: Any) -> Any:
    """Give the item back as it came."""
    return value


@task
def sqrt(x: float) -> float:
    """The square root of x.  ValueError below 0."""
    return math.sqrt(x)


@task
def square(x: int) -> int:
    """x times x, exact however large."""
    return x * x


@task
def slow_square(x: int, seconds: float = 1.0) -> int:
    """x times x, after sleeping: work that takes its time and no CPU."""
    time.sleep(seconds)
    return x * x
