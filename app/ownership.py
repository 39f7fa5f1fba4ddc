"""Two processes never serve one data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from app.domain.errors import ServiceError
from app.stores.names import make_directory


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Hold the data directory; ServiceError if another process does, or nothing can be written there."""
    with _opened(directory) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise ServiceError(
                f"{directory} belongs to a Millpond that runs (process {owner});"
                " stop it, or set MILLPOND_DATA_DIR to another directory"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _opened(directory: Path) -> TextIO:
    try:
        make_directory(directory)
        return (directory / "lock").open("a+")
    except OSError as error:
        raise ServiceError(
            f"MILLPOND_DATA_DIR={directory}: user {os.geteuid()} can keep nothing there: {error.strerror}"
        ) from None
