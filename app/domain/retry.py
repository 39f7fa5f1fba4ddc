"""Whether and when an item that went wrong runs again.

An exception costs an attempt, and the worker itself knows whether any are left; what happened to an item whose
worker is gone is decided here.  What befell an item through no fault of its own costs it nothing.
"""

import msgspec

DEATHS_MAX = 2
"""An item that killed this many workers is not given another, whatever its `max_attempts`."""
BACKOFF_SECONDS_MAX = 60.0


class Trouble(msgspec.Struct, gc=False):
    """What befell an item so far."""

    attempts: int = 0
    deaths: int = 0
    alone: bool = False
    """There was not memory enough for it and others."""


def runs_again(attempts: int, deaths: int, max_attempts: int) -> bool:
    """Whether an item runs again after `attempts` attempts, in `deaths` of which its worker died."""
    return attempts < max_attempts and deaths < DEATHS_MAX


def backoff_seconds(base: float, attempts: int, chance: float) -> float:
    """How long to wait after the `attempts`-th attempt: exponential with full jitter.

    `chance` is from 0 to 1.  Full jitter spreads the load best: AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015.
    """
    return min(BACKOFF_SECONDS_MAX, base * 2.0 ** (attempts - 1)) * chance
