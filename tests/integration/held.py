"""A service that says what holds its event loop (tests/watched.py), and bodies that may.

What was held up once, as by the garbage of what came before, is tried again: what is to be found out is each time.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.server import Server
from tests.conftest import SETTINGS

TRIES_MAX = 3
BODY_BYTES = 32 << 20
_CODE = r".*/(?:site-packages|python3\.\d+)/"
HELD = re.compile(rf"^(?:held the loop for |the loop waited |the loop opened '(?!{_CODE})).*$", re.MULTILINE)
"""What is only loaded when it is first needed is not meant: that it takes too long, its CPU time tells."""


class Watched:
    """A service, and what was held up in it."""

    def __init__(self, server: Server, api: httpx.Client) -> None:
        self.api = api
        self._server = server

    def log(self) -> str:
        return self._server.read_log()

    def held(self) -> list[str]:
        """What is said to have held the loop since the start."""
        return HELD.findall(self.log() if self._server.running else self._server.log)

    def held_by(self, ask: Callable[[], object]) -> list[str]:
        """What is said to have held the loop each time that this was asked; no more than it takes to know."""
        held: list[str] = []
        for _ in range(TRIES_MAX):
            before = len(self.log())
            ask()
            self.api.get("/livez")  # is answered after what the loop had to do for the other
            held = HELD.findall(self.log()[before:])
            if not held:
                break
        return held


@contextmanager
def watching(data: Path, **settings: str) -> Iterator[Watched]:
    environment = {f"MILLPOND_{name.upper()}": value for name, value in (SETTINGS | settings).items()}
    server = Server(data, environment, "tests.watched")
    server.start()
    try:
        with server.client() as api:
            yield Watched(server, api)
    finally:
        server.end()


def filled(before: bytes, unit: bytes, after: bytes, size: int = BODY_BYTES) -> bytes:
    """A body of about this size, of as many units with commas between them."""
    number = (size - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * number) + after
