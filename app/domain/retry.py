"""Whether an item that took its worker down runs again.

An exception costs an attempt, and the worker itself knows whether any are left; what happened to an item whose
worker is gone is decided here.  What befell an item through no fault of its own costs it nothing.
"""

DEATHS_MAX = 2
"""An item that killed this many workers is not given another, whatever its `max_attempts`."""


def runs_again(attempts: int, deaths: int, max_attempts: int) -> bool:
    """Whether an item runs again after `attempts` attempts, `deaths` of which ended with the worker's."""
    return attempts < max_attempts and deaths < DEATHS_MAX
