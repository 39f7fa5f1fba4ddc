"""A small file system, and a file that fills it."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MNT_DETACH = 2
"""Unmount also what a test left open (umount(2))."""


@contextmanager
def mounted(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system of this size; the test is skipped where none may be mounted."""
    libc = ctypes.CDLL(None, use_errno=True)
    place.mkdir()
    if libc.mount(b"tmpfs", bytes(place), b"tmpfs", 0, b"size=%dm" % megabytes) != 0:
        pytest.skip(f"a small disk cannot be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        libc.umount2(bytes(place), _MNT_DETACH)


def fill(ballast: Path) -> None:
    """Write to a file until there is no space left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
