"""The picture job: how it is sent, and what is to come of each photograph."""

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
from PIL import Image

from tests.photos import Photo, quadrants

BOX = (800, 600)
ALIKE = 12
"""How far a colour may be off, of 255: JPEG at quality 85, and CMYK there and back."""

SAID = {"truncated": "is damaged or cut short", "text": "is not a picture", "bomb": "is too large"}
"""What the error of each hostile photograph says after its name."""

Job = Mapping[str, Any]
"""A job, as the service shows it."""


def submit(client: httpx.Client, photos: Sequence[Photo]) -> Job:
    """One job, one item for each photograph, read from disk while it is sent."""
    query: dict[str, str | int] = {"task": "resize_image", "param.width": BOX[0], "param.height": BOX[1]}
    with ExitStack() as opened:
        parts = [
            ("file", (photo.path.name, opened.enter_context(photo.path.open("rb")), "image/jpeg"))
            for photo in photos
        ]
        job: Job = client.post("/v1/jobs", params=query, files=parts).raise_for_status().json()
        return job


def file_path(result: Mapping[str, Any]) -> str:
    """Where the picture is that a succeeded item made."""
    return f"/v1/files/{result['output']['file']}"


def flaw(photo: Photo, result: Mapping[str, Any], made: bytes | None) -> str | None:
    """What is wrong with a photograph's result, given the picture that it made; None if nothing is.

    A good one is to come out right way up and as large as fits into `BOX`, a hostile one to fail and say why.
    """
    name = photo.path.name
    error = result.get("error")
    if not photo.good:
        expected = ("exception", "PictureError", f"{name} {SAID[photo.kind]}")
        if error is None or (error["kind"], error["type"], error["message"][: len(expected[2])]) != expected:
            return f"{name} should have failed, being hostile: {error or result['output']}"
        return None
    if error is not None or made is None:
        return f"{name} failed: {error}"
    with Image.open(io.BytesIO(made)) as picture:
        return _unlike(photo, picture.convert("RGBA"))


def _unlike(photo: Photo, picture: Image.Image) -> str | None:
    wide, high = photo.upright_size
    scale = min(BOX[0] / wide, BOX[1] / high)
    if picture.size != (fitting := (round(wide * scale), round(high * scale))):
        return f"{photo.path.name} came out as {picture.size}, not as {fitting}"
    seen = quadrants(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture))
    pairs = zip(sum(seen, ()), sum(photo.quadrants, ()), strict=True)
    if any(abs(is_now - was) > ALIKE for is_now, was in pairs):
        return f"{photo.path.name} came out with colours {seen}, not {photo.quadrants}"
    return None
