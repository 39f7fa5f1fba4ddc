"""What is promised to outlive a loss of power is on the disk with its name, and with those of what it is in."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.caller import Role
from app.ownership import owned
from app.stores.ended import EndedSessions
from app.stores.keys import KeyFile
from app.stores.secret import kept_secret

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was waited for, in that order."""
    places: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        places.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return places


def test_a_data_directory_that_is_made_is_on_the_disk_with_its_name(
    tmp_path: Path, flushed: list[Path]
) -> None:
    """And those above it that are made for it; one that is there already is not waited for."""
    for _ in range(2):
        with owned(tmp_path / "a" / "data"):
            assert flushed == [tmp_path, tmp_path / "a"]


def test_the_name_of_a_secret_is_on_the_disk_before_it_is_used(tmp_path: Path, flushed: list[Path]) -> None:
    """After what it holds."""
    kept_secret(tmp_path / "secret", 32)

    assert [place == tmp_path for place in flushed] == [False, True]


def test_the_name_of_what_sessions_were_ended_is_on_the_disk(tmp_path: Path, flushed: list[Path]) -> None:
    """Also when the file is new, and when it is written anew."""
    path = tmp_path / "ended"
    asyncio.run(EndedSessions(path, NOON).add("a", NOON + timedelta(hours=1), NOON))
    assert flushed == [path, tmp_path]
    flushed.clear()

    EndedSessions(path, NOON)

    assert [place == tmp_path for place in flushed] == [False, True]


def test_the_directory_that_is_made_for_keys_is_on_the_disk_with_its_name(
    tmp_path: Path, flushed: list[Path]
) -> None:
    """The first key is good after a loss of power, too."""
    KeyFile(tmp_path / "etc" / "keys.json").add("ci", Role.SUBMIT, NOON)

    assert flushed[0] == tmp_path
    assert flushed[-1] == tmp_path / "etc"
