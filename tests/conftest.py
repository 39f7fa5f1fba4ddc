"""Fixtures: the real service on a loopback port."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from app.stores.verification import verify
from bench import server as service
from bench.server import START_SECONDS_MAX, Server

__all__ = ["START_SECONDS_MAX", "Server", "api", "server", "serving"]

SETTINGS = {"processes": "2", "tasks": "workers.tasks,workers.tasks.faults", "drain_seconds": "1"}

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Where it is set, each of hundreds of processes would compile anew what it imports of ours."""

settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
"""On a busy machine an example, or making one, may take long, which says nothing of what is tested."""


def pytest_collection_finish() -> None:
    """What has been loaded and collected by now is there to stay: looking for garbage need not go through it."""
    gc.collect()
    gc.freeze()


@contextmanager
def serving(data: Path, **settings: str) -> Iterator[Server]:
    """A running service with these `MILLPOND_` settings; it is ended, and must not have logged a traceback.

    What it leaves on disk, whatever happened to it, must be in order.
    """
    with service.serving(data, **SETTINGS | settings) as server:
        yield server
    assert verify(data).problems == []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service for all tests that leave it as it was, with the tasks that ship and the faults."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    """A client of the shared service."""
    with server.client() as client:
        yield client
