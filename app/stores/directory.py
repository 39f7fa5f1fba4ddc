"""The data directory: its size, and the files in it that nobody needs.

A stored file lies in `files/ab/sha256-ab…`; writing the same bytes again gives it a new modification time, so
a file that is older than some time was neither uploaded nor made since.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from app.stores import payloads


class DataDirectory:
    """A `Disk`, and a `FileDirectory`.  What looks at many files does so in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = directory / "files"

    def free(self) -> tuple[int, int]:
        stat = os.statvfs(self._directory)
        return stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize

    async def used(self) -> int:
        return await asyncio.to_thread(self._used)

    async def sections(self) -> Sequence[Path]:
        """The directories that hold files; each has about one in 256 of them."""
        return await asyncio.to_thread(self._sections)

    async def older(self, section: Path, before: float) -> Sequence[str]:
        return await asyncio.to_thread(
            lambda: sorted(entry.name for entry in files_in(section) if entry.stat().st_mtime < before)
        )

    async def remove(self, file_ids: Sequence[str], before: float) -> int:
        return await asyncio.to_thread(lambda: sum(self._remove(file_id, before) for file_id in file_ids))

    def restore(self) -> None:
        """Put back what was aside when the process died.  Only while nobody removes."""
        for aside in self._files.glob(".old-*"):
            aside.rename(self._place(aside.name.removeprefix(".old-")))

    def _used(self) -> int:
        places = (self._directory, self._directory / payloads.DIRECTORY, *self._sections())
        return sum(entry.stat().st_size for place in places for entry in files_in(place))

    def _sections(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return sorted(path for path in self._files.iterdir() if path.is_dir())
        return []

    def _place(self, file_id: str) -> Path:
        return self._files / file_id[7:9] / file_id

    def _remove(self, file_id: str, before: float) -> bool:
        """Remove the file unless it was written again since that time; whether it went.

        It is moved aside first and looked at there: a file that is written right now takes the place anew.
        """
        place, aside = self._place(file_id), self._files / f".old-{file_id}"
        try:
            place.rename(aside)
        except FileNotFoundError:
            return False
        if aside.stat().st_mtime < before:
            aside.unlink()
            return True
        aside.rename(place)  # over whatever came meanwhile: the same bytes
        return False


def files_in(place: Path) -> Iterator[os.DirEntry[str]]:
    """The files of a directory; none of those that vanish while we look."""
    with suppress(FileNotFoundError), os.scandir(place) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat():
                    yield entry
