"""What a committed file survives."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from workers.files import Blobs


@pytest.mark.parametrize("durable", [False, True])
def test_only_a_durable_file_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """First its bytes, then, in its place, its name, that of its section and, until it succeeded, that of all files."""
    flushed: list[str] = []
    refused = [str(tmp_path)]
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        if flushed[-1] in refused:
            raise OSError(errno.EIO, "refused")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    blobs = Blobs(tmp_path / "files", durable=durable)
    with suppress(OSError):
        a_file(blobs, b"content")
    refused.clear()
    path = blobs.path(a_file(blobs, b"content"))
    a_file(blobs, b"content")

    assert path.read_bytes() == b"content"
    names = [str(path.parent), str(tmp_path / "files")]
    waited = [place for place in flushed if "/.new-" not in place]
    assert waited == ([*names, str(tmp_path), *names, str(tmp_path), *names] if durable else [])
    if durable:
        assert flushed[0].startswith(f"{tmp_path}/files/.new-")


@pytest.mark.parametrize("durable", [False, True])
def test_the_same_bytes_again_are_a_new_file(tmp_path: Path, durable: bool) -> None:
    """Retention takes it for one, though what was there stays; nothing else is left of it."""
    blobs = Blobs(tmp_path, durable=durable)
    path = blobs.path(a_file(blobs, b"content"))
    os.utime(path, (1, 1))
    before = path.stat()

    a_file(blobs, b"content")

    assert path.read_bytes() == b"content"
    assert path.stat().st_mtime > before.st_mtime
    assert (path.stat().st_ino == before.st_ino) is not durable
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize("left", [b"con", bytes(7)])
def test_a_damaged_file_is_whole_once_it_is_stored_again(tmp_path: Path, left: bytes) -> None:
    """Also one of the right size: a loss of power may leave either of what does not wait for the disk."""
    blobs = Blobs(tmp_path)
    path = blobs.path(a_file(blobs, b"content"))
    path.write_bytes(left)

    a_file(blobs, b"content")

    assert path.read_bytes() == b"content"


def a_file(blobs: Blobs, content: bytes) -> str:
    with blobs.writing() as writer:
        writer.write(content)
        return writer.commit()
