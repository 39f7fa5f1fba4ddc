"""Every store there is, opened."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from app.domain.store import JobStore
from app.stores.memory import MemoryStore
from app.stores.sqlite import SqliteStore
from tests.harm.disk import Fault, harm

T = TypeVar("T")


class Run(Protocol):
    """Runs one call of a store, or a coroutine of several, to its end."""

    def __call__(self, call: Coroutine[Any, Any, T], /) -> T: ...


@pytest.fixture
def run() -> Iterator[Run]:
    """An event loop that lives as long as the test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(params=["memory", "sqlite", "sqlite and files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryStore()
        return
    path = tmp_path / "millpond.sqlite"
    sqlite = SqliteStore(path) if request.param == "sqlite" else SqliteStore(path, inline_bytes_max=0)
    sqlite.open()
    yield sqlite
    sqlite.close()


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Fault:
    """This process's SQLite writes to a disk that can fail."""
    fault = Fault(tmp_path_factory.mktemp("disk") / "fault")
    harm(fault)
    return fault
