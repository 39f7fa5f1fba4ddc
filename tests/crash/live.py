"""A job during which the service dies, for clients of every kind to follow."""

from collections.abc import Callable

from bench.server import Server
from tests.waiting import eventually

ITEMS = [0.001 + index * 1e-9 for index in range(1_500)]
"""For `sleep_for`; each says another time, so that its output tells whose it is."""
KILLED_AT = (200, 700)
SEEN_SECONDS_MAX = 30


def killed_while_followed(server: Server, job_id: str, seen: Callable[[], int]) -> None:
    """SIGKILL, and a new start, each time that a client has seen so many lines of the job."""
    for number in KILLED_AT:
        eventually(lambda: seen() >= number, SEEN_SECONDS_MAX, f"{number} lines of {job_id}", 0.02)  # noqa: B023
        server.kill()
        server.start()
