"""The clock on the wall."""

from collections.abc import Callable
from time import perf_counter
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def timed(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[float, T]:
    """Seconds, and what came of it."""
    began = perf_counter()
    result = work(*args, **kwargs)
    return perf_counter() - began, result
