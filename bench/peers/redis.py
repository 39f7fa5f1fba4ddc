"""A Redis of our own: on a free loopback port, in a directory that is thrown away, ended by its id."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS_MAX = 10.0
_POLL_SECONDS = 0.02


class NoRedis(Exception):
    """There is no `redis-server` on this machine, or it does not start."""


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """Its address.  As Debian ships it: it writes snapshots, and no append-only file."""
    program = shutil.which("redis-server")
    if program is None:
        raise NoRedis("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(process, port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return
        time.sleep(_POLL_SECONDS)
    raise NoRedis(f"redis-server does not answer on port {port}")
