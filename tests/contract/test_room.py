"""Payloads leave some of the disk, so that what fills it can still be deleted."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.errors import StorageFull
from app.stores import payloads
from app.stores.sqlite import SqliteStore
from tests.contract.conftest import Run
from tests.contract.large import LARGE, a_large_block, ids, opened, submit
from tests.harm.full import fill, mounted

Look = Callable[[str | Path], os.statvfs_result]


def left_bytes(disk: Path) -> int:
    stat = os.statvfs(disk)
    return stat.f_bavail * stat.f_frsize


def kept_bytes(disk: Path) -> float:
    stat = os.statvfs(disk)
    return stat.f_blocks * stat.f_frsize * 0.02


def a_disk(total: int, left: int) -> Look:
    """One that says it has so much, of which so much is left for who is not root."""
    return lambda path: os.statvfs_result((4096, 1, total, total, left, 0, 0, 0, 0, 255))


@pytest.mark.parametrize("size", [100, 9_000, LARGE])
def test_what_is_reckoned_between_two_looks_is_no_less_than_what_is_written(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """However many payloads follow one another, and with hardly a look at the disk, 2 % of it is left."""
    look, looks, jobs = os.statvfs, 0, 0

    def counted(path: str | Path) -> os.statvfs_result:
        nonlocal looks
        looks += 1
        return look(path)

    async def submit_until_full(store: SqliteStore) -> None:
        nonlocal jobs
        while True:
            await submit(store, f"j{jobs}", a_large_block(size=size))
            jobs += 1

    monkeypatch.setattr(payloads, "LOOK_SECONDS", math.inf)
    monkeypatch.setattr(os, "statvfs", counted)
    with mounted(tmp_path / "disk", 6) as disk, opened(disk) as store:
        with pytest.raises(StorageFull):
            run(submit_until_full(store))
        assert looks < 10 < 40 < jobs
        assert left_bytes(disk) >= kept_bytes(disk)


def test_what_others_write_is_seen_when_the_disk_is_looked_at_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """StorageFull once less is left than is kept; with more again, it goes on at once."""
    with mounted(tmp_path / "disk", 6) as disk, opened(disk) as store:
        run(submit(store, "before", a_large_block()))
        monkeypatch.setattr(payloads, "LOOK_SECONDS", -1)
        fill(disk / "ballast")
        os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - int(kept_bytes(disk)))

        with pytest.raises(StorageFull):
            run(submit(store, "full", a_large_block(size=100)))

        monkeypatch.setattr(payloads, "LOOK_SECONDS", math.inf)
        (disk / "ballast").unlink()
        run(submit(store, "after", a_large_block(size=100)))
        assert ids(run, store) == {"before", "after"}


@pytest.mark.parametrize(("total", "kept"), [(1 << 40, 16 << 20), (100 << 20, 2 << 20)])
def test_2_percent_are_left_or_16_mebibytes_if_that_is_less(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, total: int, kept: int
) -> None:
    """Of what may be used by who is not root."""
    with opened(tmp_path) as store:
        monkeypatch.setattr(os, "statvfs", a_disk(total, kept + LARGE))
        with pytest.raises(StorageFull):
            run(submit(store, "full", a_large_block()))

        monkeypatch.setattr(os, "statvfs", a_disk(total, kept + 2 * LARGE))
        run(submit(store, "fits", a_large_block()))
        assert ids(run, store) == {"fits"}
