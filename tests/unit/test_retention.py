"""Rounds of letting go, the data directory they look at, and the space that is left."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.domain.errors import StorageFull
from app.domain.job import Counts, Options, Status, kept_seconds
from app.service.retention import Keeping, Retention
from app.service.space import LOOK_SECONDS, Space
from app.stores.directory import DataDirectory
from app.stores.memory import MemoryStore
from tests.builders import NOON, a_block, a_job

DAY = 86400.0
OLD, YOUNG = 1_000.0, 2_000.0
"""Unix times, before and after the one that the tests ask for."""
BETWEEN = 1_500.0
ID = "sha256-" + "ab" * 32


@dataclass
class StoppedClock:
    time: datetime = NOON
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class TestDisk:
    """A disk of 1 GiB."""

    __test__ = False
    free_bytes: int = 1 << 30
    used_bytes: int = 0

    def free(self) -> tuple[int, int]:
        return self.free_bytes, 1 << 30

    async def used(self) -> int:
        return self.used_bytes


def a_file(directory: Path, file_id: str, written: float) -> Path:
    path = directory / "files" / file_id[7:9] / file_id
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    os.utime(path, (written, written))
    return path


def test_a_round_lets_go_of_what_is_over_and_of_nothing_else(tmp_path: Path) -> None:
    """Jobs, tombstones, keys and files, each at its own time, however many there are."""
    store, clock = MemoryStore(), StoppedClock()
    space = Space(TestDisk(), StoppedClock(), used_bytes_max=None, free_bytes_min=0)
    retention = Retention(store, DataDirectory(tmp_path), space, clock, Keeping(2 * DAY, DAY, 3 * DAY), 60.0)
    for file_id, age in (("sha256-aa", 4), ("sha256-bb", 2), ("sha256-cc", 4)):
        a_file(tmp_path, file_id, NOON.timestamp() - age * DAY)

    async def story() -> None:
        await store.create_job(a_job("lasting"), [a_block()], "key", ["sha256-cc"])
        for number in range(250):
            job = a_job(f"j{number}", status=Status.COMPLETED, counts=Counts(3, succeeded=3))
            await store.create_job(replace(job, expires_at=NOON), [a_block()])
        await retention.round()
        assert [job.id for job in await store.unfinished_jobs()] == ["lasting"]
        assert await store.tombstone("j249") is not None
        assert await store.get_job("j249") is None
        assert await store.replay("key") is not None
        clock.time += timedelta(days=2, seconds=1)
        await retention.round()
        assert await store.tombstone("j249") is None
        assert await store.replay("key") is None

    asyncio.run(story())
    left = {path.name for path in tmp_path.rglob("sha256-*")}
    assert left == {"sha256-cc"}


def test_a_file_that_is_written_again_is_not_removed(tmp_path: Path) -> None:
    """Its modification time says so, also when it changes between the look and the removal."""
    directory = DataDirectory(tmp_path)
    path = a_file(tmp_path, ID, OLD)

    async def story() -> tuple[Sequence[str], int, int]:
        (section,) = await directory.sections()
        old = await directory.older(section, BETWEEN)
        os.utime(path, (YOUNG, YOUNG))
        kept = await directory.remove(old, BETWEEN)
        os.utime(path, (OLD, OLD))
        return old, kept, await directory.remove(old, BETWEEN)

    assert asyncio.run(story()) == ([ID], 0, 1)
    assert not path.exists()


def test_a_file_that_was_aside_at_a_crash_is_put_back(tmp_path: Path) -> None:
    """Nobody knew yet whether it was to go."""
    path = a_file(tmp_path, ID, OLD)
    path.rename(tmp_path / "files" / f".old-{ID}")

    DataDirectory(tmp_path).restore()

    assert path.read_bytes() == b"x" * 10
    assert list(tmp_path.rglob(".old-*")) == []


def test_the_data_directory_knows_its_size(tmp_path: Path) -> None:
    """The database's files and the stored ones; an empty or missing directory has none."""
    directory = DataDirectory(tmp_path)
    assert asyncio.run(directory.used()) == 0
    (tmp_path / "millpond.sqlite").write_bytes(b"x" * 100)
    a_file(tmp_path, ID, OLD)

    assert asyncio.run(directory.used()) == 110
    free, size = directory.free()
    assert 0 < free < size


def refused(space: Space) -> bool:
    try:
        space.check()
    except StorageFull as error:
        return error.retry_after_seconds is not None
    return False


@pytest.mark.parametrize(
    ("free_min", "free", "full"),
    [
        (32 << 20, 32 << 20, False),
        (32 << 20, (32 << 20) - 1, True),
        (1 << 40, 60 << 20, False),
        (1 << 40, 40 << 20, True),
    ],
)
def test_some_of_the_disk_stays_free(free_min: int, free: int, full: bool) -> None:
    """As much as the setting says, or a twentieth of the disk if that is less."""
    space = Space(TestDisk(free), StoppedClock(), used_bytes_max=None, free_bytes_min=free_min)

    assert refused(space) == full


def test_what_the_disk_said_is_believed_for_a_moment() -> None:
    """A small job is not to wait for the disk's answer; a disk that fills is seen before it is full."""
    disk, clock = TestDisk(), StoppedClock()
    space = Space(disk, clock, used_bytes_max=None, free_bytes_min=32 << 20)
    assert not refused(space)

    disk.free_bytes = 0
    clock.seconds = LOOK_SECONDS / 2
    assert not refused(space)

    clock.seconds = LOOK_SECONDS * 2
    assert refused(space)


def test_the_quota_counts_what_came_since_it_was_measured() -> None:
    """So many uploads at once cannot go far beyond it; the next measurement knows better."""
    disk = TestDisk()
    space = Space(disk, StoppedClock(), used_bytes_max=100, free_bytes_min=0)
    assert not refused(space)

    space.taken(100)
    assert refused(space)
    asyncio.run(space.measure())

    assert not refused(space)
    disk.used_bytes = 100
    asyncio.run(space.measure())
    assert refused(space)


@pytest.mark.parametrize(
    ("status", "failed", "kept"),
    [
        (Status.COMPLETED, 0, 10.0),
        (Status.COMPLETED, 1, 50.0),
        (Status.CANCELLED, 0, 10.0),
        (Status.FAILED, 0, 50.0),
        (Status.EXPIRED, 0, 50.0),
    ],
)
def test_what_went_wrong_can_be_kept_longer(status: Status, failed: int, kept: float) -> None:
    """Never shorter."""
    counts = Counts(1, failed=failed)

    assert kept_seconds(Options(retention_seconds=10, failure_retention_seconds=50), status, counts) == kept
    assert kept_seconds(Options(retention_seconds=10, failure_retention_seconds=5), status, counts) == 10
    assert kept_seconds(Options(retention_seconds=10), status, counts) == 10
