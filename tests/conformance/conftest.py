"""The same client as in the integration tests: it holds every answer against the OpenAPI document."""

from collections.abc import Iterator

import httpx
import pytest

from bench.server import Server
from tests.integration.answers import MIXED, Document, client, ended, submitted


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    with client(server) as api:
        yield api


@pytest.fixture(scope="session")
def mixed(server: Server) -> Document:
    """A finished job, some of whose items failed."""
    with client(server) as api:
        return ended(api, submitted(api, "risky", MIXED, chunksize=3)["id"])
