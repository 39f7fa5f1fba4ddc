"""A client that checks what every answer must be, whatever the test looks at."""

from collections.abc import Iterator

import httpx
import pytest

from bench.server import Server
from tests.integration.answers import client


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    """A client of the shared service, for which the counts of every Job it sees must sum to its total."""
    with client(server) as api:
        yield api
