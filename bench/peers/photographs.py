"""Photographs for all libraries, where the workers of each find them."""

import json
from pathlib import Path

from tests.photos import make_photos
from workers import File
from workers.files import BLOBS, Blobs


def keep(directory: Path, count: int) -> None:
    """Make them, store those that are good, and list them as items."""
    photos = [photo for photo in make_photos(directory / "photos", count) if photo.good]
    token = BLOBS.set(Blobs(directory / "files"))
    try:
        files = [File.from_path(photo.path) for photo in photos]
    finally:
        BLOBS.reset(token)
    (directory / "photographs.json").write_text(json.dumps([[file.id, file.name] for file in files]))
