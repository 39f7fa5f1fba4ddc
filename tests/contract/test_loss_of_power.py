"""What is on the disk, in which order, and what a loss of power leaves of it."""

import errno
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.errors import ServiceError, StorageUnavailable
from app.domain.job import Counts
from app.stores import checkpoints, connection
from app.stores.verification import verify
from tests.builders import Log, a_block
from tests.contract.conftest import Run
from tests.contract.large import (
    LOSSES,
    a_large_block,
    append,
    everything,
    files,
    ids,
    lose_the_end,
    lose_the_file,
    opened,
    submit,
    the_file,
)
from tests.waiting import eventually

SECONDS_MAX = 30


@pytest.fixture
def no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed stays in the log."""
    monkeypatch.setattr(connection, "QUIET_SECONDS", 3600)
    monkeypatch.setattr(checkpoints, "AGE_SECONDS_MAX", 3600)


def moved(directory: Path) -> set[str]:
    """The jobs that are in the database's file itself; none while that is being written."""
    shutil.copyfile(directory / "millpond.sqlite", directory / "alone.sqlite")
    with closing(sqlite3.connect(directory / "alone.sqlite")) as database:
        try:
            return {row[0] for row in database.execute("SELECT id FROM jobs")}
        except sqlite3.DatabaseError:
            return set()


@pytest.mark.usefixtures("no_checkpoint")
@pytest.mark.parametrize("lose", LOSSES)
def test_a_job_whose_items_a_loss_of_power_took_was_never_accepted(
    tmp_path: Path, run: Run, lose: Callable[[Path], None]
) -> None:
    """Nor was what came after it; what came before is whole."""
    with opened(tmp_path / "data") as store:
        run(submit(store, "first", a_block()))
        run(submit(store, "lost", a_large_block()))
        run(submit(store, "later", a_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    lose(the_file(tmp_path / "copy"))

    with opened(tmp_path / "copy") as store:
        assert ids(run, store) == {"first"}
        run(submit(store, "lost", a_large_block()))
        assert run(store.read_block("lost", 0)) == a_large_block()
    assert verify(tmp_path / "copy").problems == []


@pytest.mark.usefixtures("no_checkpoint")
@pytest.mark.parametrize("lose", LOSSES[:2])
def test_results_that_a_loss_of_power_took_were_never_stored(
    tmp_path: Path, run: Run, lose: Callable[[Path], None]
) -> None:
    """Their items have none, and the job counts only what is there."""
    log = Log("j")
    with opened(tmp_path / "data") as store:
        run(submit(store, "j", a_large_block(), a_block(1, 2)))
        run(append(store, log, 1))
        run(append(store, log, 0))
        run(append(store, log, 2, size=0))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    lose(the_file(tmp_path / "copy"))

    with opened(tmp_path / "copy") as store:
        assert run(store.done_ranges("j")) == [(1, 1)]
        assert everything(run, store, "j") == log.lines[0][2]
        job = run(store.get_job("j"))
        assert job is not None
        assert job.counts == Counts(3, succeeded=1)
    assert verify(tmp_path / "copy").problems == []
    assert not [*(tmp_path / "copy").glob("*.whole")], "the log as it was is not kept"


@pytest.mark.usefixtures("no_checkpoint")
def test_a_kill_without_a_loss_of_power_takes_nothing(tmp_path: Path, run: Run) -> None:
    """The log is as it was."""
    with opened(tmp_path / "data") as store:
        run(submit(store, "large", a_large_block()))
        run(submit(store, "later", a_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")

    with opened(tmp_path / "copy") as store:
        assert ids(run, store) == {"large", "later"}
        assert run(store.read_block("large", 0)) == a_large_block()


def test_damage_to_what_was_on_the_disk_takes_nothing_else(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told by whoever reads it and by a check; the log is not cut for it."""
    with opened(tmp_path / "data") as store:
        run(submit(store, "old", a_large_block()))
    monkeypatch.setattr(connection, "QUIET_SECONDS", 3600)
    monkeypatch.setattr(checkpoints, "AGE_SECONDS_MAX", 3600)
    with opened(tmp_path / "data") as store:
        run(submit(store, "new", a_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    lose_the_end(the_file(tmp_path / "copy"))

    with opened(tmp_path / "copy") as store:
        assert ids(run, store) == {"old", "new"}
        with pytest.raises(ServiceError, match="damaged"):
            run(store.read_block("old", 0))
    assert verify(tmp_path / "copy").problems == ["job old: the payload of the items from 0 on is not whole"]


def test_damage_to_a_part_that_was_on_the_disk_takes_nothing_of_the_rest(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the same file has payloads that may be lost."""
    log = Log("j")
    with opened(tmp_path / "data") as store:
        run(submit(store, "j", a_large_block(), a_block(1, 2)))
    monkeypatch.setattr(connection, "QUIET_SECONDS", 3600)
    monkeypatch.setattr(checkpoints, "AGE_SECONDS_MAX", 3600)
    with opened(tmp_path / "data") as store:
        run(append(store, log, 0))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    with the_file(tmp_path / "copy").open("r+b") as file:
        file.write(bytes(4096))

    with opened(tmp_path / "copy") as store:
        assert everything(run, store, "j") == log.lines[0][2]
    assert verify(tmp_path / "copy").problems == ["job j: the payload of the items from 0 on is not whole"]


def test_a_log_that_no_cut_makes_whole_stays(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that are in the database already cannot be taken back: it is told, and what is later is kept."""
    with opened(tmp_path / "data") as store:
        run(submit(store, "old", a_large_block()))
    with closing(sqlite3.connect(tmp_path / "data" / "millpond.sqlite")) as database, database:
        database.execute("UPDATE owners SET loose = 0")
    monkeypatch.setattr(connection, "QUIET_SECONDS", 3600)
    with opened(tmp_path / "data") as store:
        run(submit(store, "new", a_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    lose_the_file(the_file(tmp_path / "copy"))

    with caplog.at_level(logging.ERROR), opened(tmp_path / "copy") as store:
        assert ids(run, store) == {"old", "new"}
        with pytest.raises(ServiceError, match="is not there"):
            run(store.read_block("old", 0))
    assert "payloads are lost" in caplog.text
    assert [path.name for path in (tmp_path / "copy").iterdir() if "whole" in path.name] == []


def test_nothing_gets_into_the_database_before_its_payloads_are_on_the_disk(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While they cannot be brought there the log grows, and says so once; then it is emptied."""

    def in_the_database() -> bool:
        return bool(moved(tmp_path))

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "refused")

    with opened(tmp_path) as store, caplog.at_level(logging.WARNING):
        monkeypatch.setattr(os, "fdatasync", refuse)
        run(submit(store, "j", a_large_block()))
        eventually(lambda: caplog.text, SECONDS_MAX, "it is told")
        assert not in_the_database()
        monkeypatch.undo()
        run(submit(store, "other", a_block()))
        eventually(in_the_database, SECONDS_MAX, "the log is emptied")
    with closing(sqlite3.connect(tmp_path / "millpond.sqlite")) as database:
        assert database.execute("SELECT loose FROM owners").fetchall() == [(None,), (None,)]


class _Disk:
    """What a disk has got of the payload files, which only says so if a sync succeeds.

    What it fails to take at a sync is held for written all the same, as Linux does.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = True
        self._written: dict[str, dict[int, bytes]] = {}
        self._there: dict[str, bytearray] = {}
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def pwrite(self, descriptor: int, data: bytes, place: int) -> int:
        size = self._pwrite(descriptor, data, place)
        self._written.setdefault(_name(descriptor), {})[place] = bytes(data[:size])
        return size

    def fdatasync(self, descriptor: int) -> None:
        written = self._written.pop(_name(descriptor), {})
        if self.failing:
            raise OSError(errno.EIO, "refused")
        there = self._there.setdefault(_name(descriptor), bytearray())
        for place, data in written.items():
            there.extend(bytes(max(0, place + len(data) - len(there))))
            there[place : place + len(data)] = data

    def has(self, file: Path) -> bool:
        return bytes(self._there.get(file.name, b"")) == file.read_bytes()


def _name(descriptor: int) -> str:
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


def test_what_the_disk_failed_to_take_is_written_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the next sync would succeed without it."""
    disk = _Disk(monkeypatch)
    log = Log("j")
    with opened(tmp_path) as store:
        run(submit(store, "j", a_large_block(), a_block(1, 2)))
        eventually(lambda: caplog.text, SECONDS_MAX, "it is told")
        run(append(store, log, 0))
        disk.failing = False
        run(append(store, log, 1))
        eventually(lambda: disk.has(the_file(tmp_path)), SECONDS_MAX, "the disk has all of it")
        assert everything(run, store, "j") == log.lines[0][2] + log.lines[1][2]
    assert verify(tmp_path).problems == []


@pytest.mark.usefixtures("no_checkpoint")
@pytest.mark.parametrize("lost", [[], ["lost"]])
def test_what_the_disk_may_have_failed_to_take_before_a_crash_is_written_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, lost: list[str]
) -> None:
    """Who comes after it does not know what a sync said, whether something else was lost or not."""
    with opened(tmp_path / "data") as store:
        run(submit(store, "j", a_large_block()))
        for job_id in lost:
            run(submit(store, job_id, a_large_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    left, *others = sorted((tmp_path / "copy" / "payloads").iterdir())
    for file in others:
        lose_the_file(file)
    disk = _Disk(monkeypatch)
    disk.failing = False

    with opened(tmp_path / "copy") as store:
        assert ids(run, store) == {"j"}

    assert disk.has(left)


@pytest.mark.parametrize("lose", LOSSES)
def test_what_the_disk_lost_harms_nothing_else(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lose: Callable[[Path], None],
) -> None:
    """The log is emptied all the same, and who reads it is told."""
    disk = _Disk(monkeypatch)
    with opened(tmp_path) as store:
        run(submit(store, "lost", a_large_block()))
        eventually(lambda: caplog.text, SECONDS_MAX, "it is told")
        lose(the_file(tmp_path))
        disk.failing = False
        run(submit(store, "j", a_block()))
        eventually(lambda: moved(tmp_path) == {"lost", "j"}, SECONDS_MAX, "the log is emptied")
    with opened(tmp_path) as store:
        assert ids(run, store) == {"lost", "j"}
    assert verify(tmp_path).problems != []


def test_with_durability_power_a_payload_is_on_the_disk_before_its_answer(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it cannot be brought there, nothing was changed."""
    synced: list[str] = []

    def refuse(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        raise OSError(errno.EIO, "refused")

    with opened(tmp_path, "power") as store:
        monkeypatch.setattr(os, "fdatasync", refuse)
        with pytest.raises(StorageUnavailable):
            run(submit(store, "j", a_large_block()))
        assert (synced, files(tmp_path), ids(run, store)) == (["1"], {}, set())
        monkeypatch.undo()
        run(submit(store, "j", a_large_block()))
        assert run(store.read_block("j", 0)) == a_large_block()


@pytest.mark.usefixtures("no_checkpoint")
def test_with_durability_power_damage_takes_nothing_else(tmp_path: Path, run: Run) -> None:
    """What is in the log has its payloads on the disk, and is not to be cut for one that is damaged."""
    with opened(tmp_path / "data", "power") as store:
        run(submit(store, "damaged", a_large_block()))
        run(submit(store, "later", a_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    lose_the_end(the_file(tmp_path / "copy"))

    with opened(tmp_path / "copy", "power") as store:
        assert ids(run, store) == {"damaged", "later"}


def test_with_durability_power_nothing_is_synced_twice(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by who empties the log nor at the end."""
    synced: list[int] = []
    fdatasync = os.fdatasync

    def noted(descriptor: int) -> None:
        synced.append(descriptor)
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    with opened(tmp_path, "power") as store:
        run(submit(store, "j", a_large_block()))
        eventually(lambda: moved(tmp_path), SECONDS_MAX, "the log is emptied")

    assert len(synced) == 1


class _Directories:
    """Whether directories are synced, each of which may be refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: Path | None = None
        self.synced: list[Path] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        if place == self.refused:
            raise OSError(errno.EIO, "refused")
        self.synced.append(place)
        self._fsync(descriptor)


@pytest.mark.parametrize("refused", ["data", "data/payloads"])
def test_nothing_gets_into_the_database_before_the_names_of_its_payloads_are_on_the_disk(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    """Nor before that of their directory is, whoever made it."""
    directories = _Directories(monkeypatch)
    directories.refused = tmp_path / refused
    with opened(tmp_path / "data") as store:
        run(submit(store, "j", a_large_block()))
        eventually(lambda: caplog.text, SECONDS_MAX, "it is told")
        assert not moved(tmp_path / "data")
        directories.refused = None
        run(submit(store, "other", a_block()))
        eventually(lambda: moved(tmp_path / "data"), SECONDS_MAX, "the log is emptied")
    assert directories.synced.count(tmp_path / refused) == 1


@pytest.mark.parametrize("refused", ["data", "data/payloads"])
def test_with_durability_power_the_names_of_a_payload_are_on_the_disk_before_its_answer(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """If they cannot be brought there, nothing was changed, however often it is tried."""
    directories = _Directories(monkeypatch)
    directories.refused = tmp_path / refused
    with opened(tmp_path / "data", "power") as store:
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                run(submit(store, "j", a_large_block()))
        assert (files(tmp_path / "data"), ids(run, store)) == ({}, set())
        directories.refused = None
        run(submit(store, "j", a_large_block()))
        run(submit(store, "other", a_large_block()))
    assert directories.synced.count(tmp_path / "data") == 1
