"""A file of keys that cannot be read for a moment is read again, though nothing about it changes."""

from pathlib import Path

import pytest

from app.domain.caller import Role
from app.stores.keys import KeyFile
from tests.builders import NOON


def test_a_revocation_that_could_not_be_read_counts_as_soon_as_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the keys of before stay in use: a disk that fails for a moment shuts nobody out."""
    path = tmp_path / "keys.json"
    operators, services = KeyFile(path), KeyFile(path)
    operators.add("ann", Role.SUBMIT, NOON)
    operators.add("bob", Role.SUBMIT, NOON)
    services.load()
    operators.revoke("bob")

    def fails(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(Path, "read_bytes", fails)
        meanwhile = [key.name for key in services.current()]

    assert meanwhile == ["ann", "bob"]
    assert [key.name for key in services.current()] == ["ann"]
