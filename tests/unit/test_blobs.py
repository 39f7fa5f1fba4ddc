"""What a committed file survives."""

import os
from pathlib import Path

import pytest

from workers.files import Blobs


@pytest.mark.parametrize("durable", [False, True])
def test_only_a_durable_file_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """First its bytes, then, in its place, its name and that of its section; else nothing waits."""
    flushed: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with Blobs(tmp_path, durable=durable).writing() as writer:
        writer.write(b"content")
        file_id = writer.commit()

    section = tmp_path / file_id[7:9]
    assert (section / file_id).read_bytes() == b"content"
    if durable:
        assert flushed[0].startswith(f"{tmp_path}/.new-")
        assert flushed[1:] == [str(section), str(tmp_path)]
    else:
        assert flushed == []
