"""A service with tasks that show what they were made to do, for the tests of what befalls items."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import serving
from tests.crash.matrix import Watched

HABITS = "workers.tasks,workers.tasks.faults,tests.integration.habits"


@contextmanager
def watching(data: Path, **settings: str) -> Iterator[Watched]:
    """A running service of two workers, unless the settings say otherwise."""
    with serving(data, **{"tasks": HABITS} | settings) as server, server.client() as api:
        yield Watched(server, api)
