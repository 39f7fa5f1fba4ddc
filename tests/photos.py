"""A hundred photographs to test with, made from the real ones inside scikit-image and scikit-learn.

    python -m tests.photos DIRECTORY [COUNT]

Invariant: the same count gives the same pictures, and nothing is downloaded.
"""

import random
import struct
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageOps

Kind = Literal["plain", "rotated", "cmyk", "grey", "alpha", "truncated", "text", "bomb"]
Colour = tuple[int, int, int]

SOURCES = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
SHAPES = ((4, 3), (3, 2), (16, 9), (3, 4), (2, 3), (1, 1))
MEGAPIXELS = (4.0, 8.0)
JPEG_QUALITY = 85
GRAIN_ZERO = 128
GRAIN_SIGMA = 5
BOMB_SIDE = 30_000

GOOD_KINDS: tuple[Kind, ...] = (
    *("plain", "rotated", "cmyk", "plain", "rotated", "grey", "plain", "rotated", "alpha"),
    *("plain", "rotated") * 8,
)
"""What good photographs are, in turn."""
BAD_KINDS: tuple[Kind, ...] = ("truncated", "text", "bomb")
"""One each, a quarter, a half and three quarters of the way through."""

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright picture under each EXIF orientation."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph on disk, and how it looks to someone who looks at it the right way up, on white paper."""

    path: Path
    kind: Kind
    good: bool
    upright_size: tuple[int, int]
    quadrants: tuple[Colour, ...]
    """Mean colours of the upper left, upper right, lower left and lower right quarter; none of a bad one."""


def make_photos(directory: Path, count: int = 100) -> list[Photo]:
    """Make `count` photographs of 4 to 8 megapixels; from 8 on, three of them are hostile files."""
    directory.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda plan: _make(directory, *plan), enumerate(_kinds(count))))


def quadrants(picture: Image.Image) -> tuple[Colour, ...]:
    """Mean colours of the four quarters, as a `Photo` has them."""
    small = picture.convert("RGB").resize((2, 2), Image.Resampling.BOX)
    return tuple((red, green, blue) for red, green, blue in zip(*[iter(small.tobytes())] * 3, strict=True))


def _kinds(count: int) -> Iterator[Kind]:
    bad = (
        dict(zip((count * quarter // 4 for quarter in (1, 2, 3)), BAD_KINDS, strict=True))
        if count >= 8
        else {}
    )
    good = 0
    for index in range(count):
        if index in bad:
            yield bad[index]
        else:
            yield GOOD_KINDS[good % len(GOOD_KINDS)]
            good += 1


def _make(directory: Path, index: int, kind: Kind) -> Photo:
    path = directory / f"{index:03}-{kind}.{'png' if kind in ('alpha', 'bomb') else 'jpg'}"
    chance = random.Random(index)
    if kind == "text":
        path.write_text("Dear sir or madam,\n\nthis is no photograph.\n" * 40)
        return Photo(path, kind, False, (0, 0), ())
    if kind == "bomb":
        path.write_bytes(bomb(BOMB_SIDE))
        return Photo(path, kind, False, (BOMB_SIDE, BOMB_SIDE), ())
    upright = _photograph(chance)
    seen = upright
    match kind:
        case "rotated":
            _save_turned(upright, path, chance.choice(tuple(TURNED)))
        case "cmyk":
            upright.convert("CMYK").save(path, quality=JPEG_QUALITY)
        case "grey":
            seen = upright.convert("L")
            seen.save(path, quality=JPEG_QUALITY)
        case "alpha":
            seen = _save_vignette(upright, path)
        case _:
            upright.save(path, quality=JPEG_QUALITY)
    if kind == "truncated":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return Photo(path, kind, False, upright.size, ())
    return Photo(path, kind, True, upright.size, quadrants(seen))


def _photograph(chance: random.Random) -> Image.Image:
    """A piece of a real photograph, mirrored or not, enlarged, with the grain that a sensor would add."""
    source = chance.choice(_sources())
    across, down = chance.choice(SHAPES)
    crop = min(source.width / across, source.height / down) * chance.uniform(0.6, 1)
    left = chance.uniform(0, source.width - across * crop)
    top = chance.uniform(0, source.height - down * crop)
    scale = (chance.uniform(*MEGAPIXELS) * 1e6 / (across * down)) ** 0.5
    enlarged = source.resize(
        (round(across * scale), round(down * scale)),
        Image.Resampling.BICUBIC,
        box=(left, top, left + across * crop, top + down * crop),
    )
    mirrored = ImageOps.mirror(enlarged) if chance.random() < 0.5 else enlarged
    return ImageChops.add(mirrored, _grain().crop((0, 0, *mirrored.size)), offset=-GRAIN_ZERO)


@cache
def _grain() -> Image.Image:
    """Noise around `GRAIN_ZERO`, larger than any photograph here."""
    tile = np.random.default_rng(0).normal(GRAIN_ZERO, GRAIN_SIGMA, (1024, 1024))
    return Image.fromarray(np.tile(tile.astype(np.uint8), (4, 4))).convert("RGB")


@cache
def _sources() -> tuple[Image.Image, ...]:
    """The photographs that are installed, found without importing the packages they come in."""
    return tuple(_source(package, name) for package, name in SOURCES)


def _source(package: str, name: str) -> Image.Image:
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations is not None
    with Image.open(Path(spec.submodule_search_locations[0]) / name) as picture:
        return picture.convert("RGB")


def _save_turned(upright: Image.Image, path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Millpond"
    exif[ExifTags.Base.Orientation] = orientation
    upright.transpose(TURNED[orientation]).save(path, quality=JPEG_QUALITY, exif=exif)


def _save_vignette(upright: Image.Image, path: Path) -> Image.Image:
    """Save with corners that fade to nothing, and give it back as it looks on white."""
    fade = ImageOps.invert(Image.radial_gradient("L")).resize(upright.size)
    faded = upright.copy()
    faded.putalpha(fade)
    faded.save(path, compress_level=1)
    return Image.composite(upright, Image.new("RGB", upright.size, "white"), fade)


def bomb(side: int) -> bytes:
    """A valid PNG (ISO/IEC 15948) of side x side black pixels, in a hundred kilobytes; sides are hundreds.

    A hundred rows are deflated once and repeated: after a full flush, blocks refer to nothing before them.
    """
    rows = zlib.compressobj(9, wbits=-15)
    hundred = rows.compress(bytes(100 * (1 + (side + 7) // 8))) + rows.flush(zlib.Z_FULL_FLUSH)
    length = side * (1 + (side + 7) // 8)
    adler = (length % 65521) << 16 | 1  # Adler-32 of that many zero bytes (RFC 1950)
    data = b"\x78\xda" + hundred * (side // 100) + b"\x03\x00" + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    _, target, *number = sys.argv
    for photo in make_photos(Path(target), *map(int, number)):
        sys.stdout.write(f"{photo.path}\n")
