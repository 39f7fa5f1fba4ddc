"""Names of files and directories: on the disk once the directory that holds them was synced (fsync(2))."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Wait until the names in it are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Have it there, with those above it; names that are new are on the disk."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def put(new: str, place: Path) -> None:
    """Give the file this place, in the directory it is in; a loss of power leaves it or what was there."""
    Path(new).replace(place)
    sync_directory(place.parent)
