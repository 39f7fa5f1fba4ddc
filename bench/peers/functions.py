"""What every library runs: one function that does, by name, what the tasks of the service do, and what goes wrong.

Imported by the workers of all of them, in environments of their own.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.faults.tasks import Unpicklable
from workers import File
from workers.files import BLOBS, Blobs
from workers.tasks.faults import burn
from workers.tasks.images import resize_image
from workers.tasks.numbers import square

BAD = 7
"""The item that goes wrong."""
LONG_SECONDS = 60.0
PAUSE_SECONDS = 0.1
FILES = "PEER_FILES"
"""The environment variable that names the directory of the photographs."""


def call(name: str, item: Any) -> Any:
    """Run a function on an item."""
    return FUNCTIONS[name](item)


def _resize(name: list[str]) -> str:
    """The id of a smaller picture than the one with this id."""
    BLOBS.set(Blobs(Path(os.environ[FILES])))
    return resize_image(File(name[0], name=name[1])).id


def _meet(_: int) -> tuple[float, float]:
    """From when to when this item ran, on the clock that all processes share (`CLOCK_MONOTONIC`)."""
    began = time.monotonic()
    time.sleep(PAUSE_SECONDS)
    return began, time.monotonic()


def _kill(x: int) -> int:
    if x == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(x)


def _unpicklable(x: int) -> int:
    if x == BAD:
        raise Unpicklable("the session is over")
    return square(x)


def _hang(x: int) -> int:
    if x == BAD:
        time.sleep(LONG_SECONDS)
    return square(x)


def _slow_square(x: int) -> int:
    time.sleep(PAUSE_SECONDS)
    return square(x)


FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "square": square,
    "meet": _meet,
    "burn": burn,
    "resize": _resize,
    "kill": _kill,
    "unpicklable": _unpicklable,
    "hang": _hang,
    "restart": _slow_square,
}
