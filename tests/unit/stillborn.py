"""A task module whose workers end as they begin, while a file says so."""

import os
from pathlib import Path

from workers import task

FORBIDDING = "TESTS_STILLBORN"
"""Names the file."""


def _begin() -> None:
    if Path(os.environ[FORBIDDING]).exists():
        os._exit(1)


os.register_at_fork(after_in_child=_begin)


@task
def negative(x: int) -> int:
    """Less than nothing."""
    return -x
