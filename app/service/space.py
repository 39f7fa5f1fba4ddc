"""How much of the disk may be used.

Invariant: what was accepted has room for its end: new work is refused while there is still some space.
"""

from typing import Protocol

from app.domain.clock import Clock
from app.domain.errors import StorageFull

FREE_SHARE_MIN = 0.05
"""Of a small disk, this share is kept free, if that is less than the setting says."""
LOOK_SECONDS = 0.1
"""For so long it is believed what the disk said: asking takes longer than all else that is checked of a small job."""
RETRY_AFTER_SECONDS = 60


class Disk(Protocol):
    """Where everything is stored.  Sizes in bytes."""

    def free(self) -> tuple[int, int]:
        """(what is free for us, the size of the whole file system)"""
        ...

    async def used(self) -> int:
        """What the database and the files take.  Looks at every file: slow where there are many."""
        ...


class Space:
    """Says whether there is room for new work."""

    def __init__(self, disk: Disk, clock: Clock, *, used_bytes_max: int | None, free_bytes_min: int) -> None:
        self._disk = disk
        self._clock = clock
        self._free = (0, 0)
        self._looked_at = float("-inf")
        self._used_bytes_max = used_bytes_max
        self._free_bytes_min = free_bytes_min
        self._used = 0

    def check(self) -> None:
        """StorageFull if nothing more is to be taken.  Cheap: asked before every submission and upload."""
        free, size = self._looked()
        if free < min(self._free_bytes_min, size * FREE_SHARE_MIN):
            raise StorageFull(
                f"The disk has {_mebibytes(free)} left, which are kept for the jobs that were accepted."
                " Free some space there, or DELETE finished jobs.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        if self._used_bytes_max is not None and self._used >= self._used_bytes_max:
            raise StorageFull(
                f"Jobs and files take {_mebibytes(self._used)} of the {_mebibytes(self._used_bytes_max)} they may."
                " DELETE finished jobs, or wait until some expire.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    def _looked(self) -> tuple[int, int]:
        """What the disk says, or said a moment ago."""
        now = self._clock.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._free, self._looked_at = self._disk.free(), now
        return self._free

    def taken(self, size: int) -> None:
        """So much was stored since the last measurement."""
        self._used += size

    async def measure(self) -> None:
        """Look what is used."""
        if self._used_bytes_max is not None:
            self._used = await self._disk.used()


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
