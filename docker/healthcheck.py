"""Whether the service in this container is ready: exit status 0 if `GET /readyz` answers 200, 1 if not.

Only a socket, since this runs every few seconds: importing an HTTP client costs more than asking.
"""

import os
import socket
import sys
from collections.abc import Mapping

ANSWER_SECONDS_MAX = 2.0
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a service can be reached from inside that listens everywhere; it is asked like anybody else."""


def address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Where the service with this environment listens."""
    host = environment.get("MILLPOND_HOST", "")
    return _LOOPBACK.get(host, host), int(environment.get("MILLPOND_PORT") or 8000)


def ready(host: str, port: int) -> bool:
    """Ask once; whatever goes wrong is a no."""
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS_MAX) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(64).startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 "))
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if ready(*address(os.environ)) else 1)
