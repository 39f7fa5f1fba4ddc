"""The real service in a process of its own, for whoever measures, shows or tests it.

Invariant: outside of `serving` nothing of it runs any more, whatever happened inside.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import httpx

ROOT = Path(__file__).parent.parent
START_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.01
_ADDRESS = re.compile(r"running on (http://[0-9.:]+)")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


class Server:
    """A Millpond on a free port; `settings` are environment variables, and those of the caller do not count.

    `module` is what is run instead, if it says where it listens as the service does; `root` is where it is found.
    """

    def __init__(
        self, data: Path, settings: Mapping[str, str], module: str = "app", *, root: Path = ROOT
    ) -> None:
        self.data = data
        self._module = module
        self._root = root
        mine = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
        self._environment = mine | {"MILLPOND_PORT": "0", "MILLPOND_DATA_DIR": str(data), **settings}
        self.url = ""
        self.log = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that the serving process ever had at once; its workers not counted (proc(5))."""
        found = _PEAK.search(Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all threads of the serving process; its workers not counted (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def start(self, *, ready: bool = True) -> None:
        """Start it, on the port it had before if it had one, and wait until it is ready, or only listens."""
        if self.url:
            self._environment["MILLPOND_PORT"] = self.url.rpartition(":")[2]
        self.log = ""
        # A file, not a pipe: a service that nobody listens to must not stop at a full one.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module], cwd=self._root, env=self._environment, stderr=self._stderr
        )
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            self.url = self._address(deadline)
            if ready:
                self._wait_until_ready(deadline)
        except BaseException:
            self.kill()
            raise

    def read_log(self) -> str:
        """What it has logged since its start."""
        assert self._stderr is not None
        size = os.fstat(self._stderr.fileno()).st_size
        self.log = os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")
        return self.log

    def ended_within(self, seconds: float) -> bool:
        """Whether it ends by itself in that time."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def wait(self) -> None:
        """Wait until it ends by itself."""
        assert self._process is not None
        self._process.wait()

    def kill(self) -> None:
        """SIGKILL, at once."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal if it still runs, and return the exit status."""
        assert self._process is not None
        assert self._stderr is not None
        self._process.send_signal(number)
        try:
            status = self._process.wait(START_SECONDS_MAX)
        finally:
            self._process.kill()
            self._process.wait()
            self.read_log()
            self._stderr.close()
            self._process = self._stderr = None
        return status

    def client(self, **options: object) -> httpx.Client:
        """One that loads no certificates, which would take longer than most requests: none is asked for here."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, verify=False, **options)  # type: ignore[arg-type]

    def _wait_until_ready(self, deadline: float) -> None:
        assert self._process is not None
        with self.client() as client:
            while client.get("/readyz").is_error:
                assert self._process.poll() is None, self.read_log()
                assert time.monotonic() < deadline, self.read_log()
                time.sleep(_POLL_SECONDS)

    def _address(self, deadline: float) -> str:
        assert self._process is not None
        while not (found := _ADDRESS.search(self.read_log())):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(_POLL_SECONDS)
        return found[1]


@contextlib.contextmanager
def serving(data: Path, **settings: str) -> Iterator[Server]:
    """A running service with these `MILLPOND_` settings; it is ended, and must not have logged a traceback.

    Nor may the HTTP server have found fault with the application.
    """
    with started(
        Server(data, {f"MILLPOND_{name.upper()}": value for name, value in settings.items()})
    ) as server:
        yield server


@contextlib.contextmanager
def started(server: Server) -> Iterator[Server]:
    """The same of what is not running yet."""
    server.start()
    try:
        yield server
    finally:
        if server.running:
            server.end()
    for trouble in ("Traceback", "ERROR   uvicorn"):
        assert trouble not in server.log, server.log
