"""A client that checks what every answer must be, whatever the test looks at."""

from collections.abc import Iterator

import httpx
import pytest

from bench.server import Server
from tests.integration.answers import MIXED, Document, client, ended, submitted
from tests.integration.callers import Keyed, serving_keys
from tests.integration.held import Watched, watching
from tests.integration.watching import HABITS


@pytest.fixture(scope="session")
def mixed(server: Server) -> Document:
    """A finished job with 10 failures among 40 results, made of many chunks."""
    with client(server) as api:
        return ended(api, submitted(api, "risky", MIXED, chunksize=3)["id"])


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    """A client of the shared service, for which the counts of every Job it sees must sum to its total."""
    with client(server) as api:
        yield api


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """One service with keys, for all tests that leave it as it was."""
    with serving_keys(tmp_path_factory.mktemp("keyed")) as running:
        yield running


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One service that says what holds its event loop, with tasks that give back what is large."""
    with watching(tmp_path_factory.mktemp("watched"), tasks=HABITS) as running:
        yield running


@pytest.fixture
def ann(keyed: Keyed) -> Iterator[httpx.Client]:
    with keyed.client("ann") as api:
        yield api


@pytest.fixture
def bob(keyed: Keyed) -> Iterator[httpx.Client]:
    with keyed.client("bob") as api:
        yield api


@pytest.fixture
def boss(keyed: Keyed) -> Iterator[httpx.Client]:
    with keyed.client("boss") as api:
        yield api
