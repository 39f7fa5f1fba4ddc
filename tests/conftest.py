"""Fixtures: the real service on a loopback port."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
START_SECONDS_MAX = 30.0
_ADDRESS = re.compile(r"running on (http://[0-9.:]+)")


class Server:
    """A Millpond in a process of its own, on a free port."""

    def __init__(self, data: Path, settings: Mapping[str, str]) -> None:
        self.data = data
        self._environment = os.environ | {
            "MILLPOND_PORT": "0",
            "MILLPOND_DATA_DIR": str(data),
            "MILLPOND_PROCESSES": "2",
            "MILLPOND_TASKS": "workers.tasks,workers.tasks.faults",
            "MILLPOND_DRAIN_SECONDS": "1",
            **settings,
        }
        self.url = ""
        self.log = ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens, on the port it had before if it had one."""
        if self.url:
            self._environment["MILLPOND_PORT"] = self.url.rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        while not (found := _ADDRESS.search(self.log)):
            left = deadline - time.monotonic()
            assert left > 0, self.log
            select.select([self._process.stderr], [], [], left)
            self.read_log()
            assert self._process.poll() is None, self.log
        self.url = found[1]
        self.log = ""

    def read_log(self) -> str:
        """What it has logged since its start."""
        assert self._process is not None
        assert self._process.stderr is not None
        with contextlib.suppress(BlockingIOError):
            self.log += self._process.stderr.read() or ""
        return self.log

    def kill(self) -> None:
        """SIGKILL, at once."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            status = self._process.wait(START_SECONDS_MAX)
        finally:
            self._process.kill()
            self.read_log()
            if self._process.stderr:
                self._process.stderr.close()
        self._process = None
        return status

    @property
    def running(self) -> bool:
        return self._process is not None

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(data: Path, **settings: str) -> Iterator[Server]:
    """A running service with these `MILLPOND_` settings; it is ended, and must not have logged a traceback."""
    server = Server(data, {f"MILLPOND_{name.upper()}": value for name, value in settings.items()})
    server.start()
    try:
        yield server
    finally:
        if server.running:
            server.end()
    assert "Traceback" not in server.log, server.log


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
