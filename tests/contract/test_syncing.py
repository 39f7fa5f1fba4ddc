"""Of each file of payloads the database knows from where on it may not be on the disk; never more is believed."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.stores.payloads import Payloads

SIZE = 1000


class Syncing:
    """Payloads, and as much of a database as they need."""

    def __init__(self, directory: Path) -> None:
        self.payloads = Payloads(directory / "payloads", inline_bytes_max=0)
        self.writer, self.reader = (
            sqlite3.connect(directory / "owners.sqlite", isolation_level=None) for _ in range(2)
        )
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.writer.execute("CREATE TABLE owners (id INTEGER PRIMARY KEY, loose INTEGER)")
        self.writer.execute("INSERT INTO owners (id) VALUES (1), (2)")

    def add(self, *owners: int) -> None:
        """A payload of each of them, or nothing, in one transaction."""
        self.writer.execute("BEGIN")
        for owner in owners:
            self.payloads.add(owner, b"x" * SIZE)
        with self.payloads.committing(self.writer):
            self.writer.execute("COMMIT")

    def sync(self) -> None:
        with self.payloads.on_disk(self.reader):
            pass

    @property
    def loose(self) -> list[int | None]:
        """Of both owners, what the database knows."""
        return [loose for (loose,) in self.writer.execute("SELECT loose FROM owners ORDER BY id")]


@pytest.fixture
def syncing(tmp_path: Path) -> Iterator[Syncing]:
    made = Syncing(tmp_path)
    yield made
    made.reader.close()
    made.writer.close()


def test_what_is_on_the_disk_is_known_after_the_next_transaction(syncing: Syncing) -> None:
    """For which there is a reason, as long as it is not known; what comes then may not be on the disk."""
    syncing.add(1)
    syncing.add(1, 2)
    assert (syncing.loose, syncing.payloads.untold) == ([0, 0], False)
    syncing.sync()
    assert (syncing.loose, syncing.payloads.untold) == ([0, 0], True)

    syncing.add()

    assert (syncing.loose, syncing.payloads.untold) == ([None, None], False)
    syncing.add(1)
    assert syncing.loose == [2 * SIZE, None]


def test_what_comes_while_others_are_synced_may_not_be_on_the_disk(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it called so by what is told of them; it is once it was synced itself."""
    syncing.add(1, 2)
    fdatasync = os.fdatasync
    meanwhile = iter([(1,)])

    def sync(descriptor: int) -> None:
        fdatasync(descriptor)
        for owners in meanwhile:
            syncing.add(*owners)

    monkeypatch.setattr(os, "fdatasync", sync)
    syncing.sync()

    syncing.add()

    assert syncing.loose == [SIZE, None]
    syncing.sync()
    syncing.add()
    assert syncing.loose == [None, None]


def test_what_comes_meanwhile_is_not_in_the_state_that_is_on_the_disk(syncing: Syncing) -> None:
    """Which is what one reads who keeps it out of the database, from the beginning on."""
    syncing.add(1)
    with syncing.payloads.on_disk(syncing.reader):
        syncing.add(2)
        assert syncing.reader.execute("SELECT loose FROM owners ORDER BY id").fetchall() == [(0,), (None,)]

    assert syncing.reader.execute("SELECT loose FROM owners WHERE id = 2").fetchone() == (0,)


def test_a_payload_leaves_no_file_open(syncing: Syncing) -> None:
    """Neither its writing nor its reading nor its sync."""
    syncing.add(1, 2)
    syncing.sync()
    before = open_files()
    for _ in range(10):
        syncing.add(1, 2)
        assert syncing.payloads.whole(1, 0, SIZE, 0) is None
        syncing.sync()

    assert open_files() == before


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
