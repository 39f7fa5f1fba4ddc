"""A task of which one item ends when a test says so."""

import time
from pathlib import Path

from workers import task


@task
def sleep_until(seconds: float, path: str = "") -> float:
    """Sleep so long; then, with a path, until there is something."""
    time.sleep(seconds)
    while path and not Path(path).exists():
        time.sleep(0.001)
    return seconds
