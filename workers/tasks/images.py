"""Pictures made smaller, to be looked at: right way up, in sRGB, and saying nothing of where they were taken.

Invariant: a picture that cannot be read in full is an error, never a half-grey result.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated

from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from pydantic import Field

from workers import File, task

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""What is read.  Pillow knows more, some of which start other programs (EPS) or are rarely what was meant."""

PIXELS_MAX = 80_000_000
"""The largest picture that is decoded: 320 MB at 4 bytes a pixel.  Above 89 million Pillow would warn."""

SIDE_MAX = 65_500
"""The longest side of a JPEG (libjpeg's JPEG_MAX_DIMENSION)."""

REDUCING_GAP = 1.5
"""How much larger than the result a JPEG is decoded, at least: much faster than 2, and 49 dB from exact."""

_Side = Annotated[int, Field(ge=1, le=SIDE_MAX)]
_Quality = Annotated[int, Field(ge=1, le=100)]

_Turn = Image.Transpose
_UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
"""What undoes each EXIF orientation (CIPA DC-008, tag 0x0112)."""
_SIDEWAYS = (_Turn.TRANSPOSE, _Turn.ROTATE_270, _Turn.TRANSVERSE, _Turn.ROTATE_90)

# The decoders, once, before workers are forked; `init` would load those of forty other formats as well.
Image.preinit()
for _format in ("Avif", "Mpo", "Tiff", "WebP"):
    import_module(f"PIL.{_format}ImagePlugin")


class PictureError(ValueError):
    """A picture that cannot be used; the message names the file, what is wrong and what to do."""


@task(timeout=30)
def resize_image(image: File, width: _Side = 800, height: _Side = 600, quality: _Quality = 85) -> File:
    """Scale a picture down to fit into width by height, and re-encode it as any browser shows it.

    Proportions stay, and a picture that fits already keeps its size. It comes out right way up, in sRGB and
    without metadata: as a JPEG of this quality, or as a PNG if it has transparent parts. Of an animation it
    is the first picture. Reads JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF, of up to 80 megapixels.
    """
    with image.open() as stream, _explained(image), Image.open(stream, formats=FORMATS) as picture:
        if picture.width * picture.height > PIXELS_MAX:
            raise Image.DecompressionBombError
        scaled = _to_srgb(_scaled(picture, (width, height)), picture.info.get("icc_profile"))
    return _encoded(scaled, Path(image.name or "image").stem, quality)


def _scaled(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture upright and no larger than the box, as L, RGB, RGBA or CMYK."""
    if picture.format not in ("JPEG", "MPO"):
        # Only JPEG can be decoded at a fraction of its size; and TIFF turns itself upright while it loads.
        picture.load()
    turn = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    scaled = _resampleable(picture)
    scaled.thumbnail(
        box[::-1] if turn in _SIDEWAYS else box, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP
    )
    return scaled if turn is None else scaled.transpose(turn)


def _resampleable(picture: Image.Image) -> Image.Image:
    """The picture in a mode whose pixels can be averaged.  CMYK stays: fewer pixels to convert afterwards."""
    if picture.mode.startswith("I;16"):
        # Pillow's own conversion to 8 bits cuts off at 255 what should be divided by 256.
        return picture.convert("I").point(lambda value: value / 256).convert("L")
    if picture.mode in ("I", "F"):
        raise PictureError(
            "its pixels are 32-bit numbers, and nobody knows which of them is white: use 8 or 16 bits"
        )
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as L, RGB or RGBA in sRGB.  A profile that is broken, or is for other modes, is ignored."""
    mode = "RGB" if picture.mode == "CMYK" else picture.mode
    if profile:
        through = "RGBA" if mode == "RGBA" else "RGB"
        with suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            if shown := ImageCms.profileToProfile(picture, source, target, outputMode=through):
                return shown.convert(mode)
    return picture.convert(mode)


def _encoded(picture: Image.Image, stem: str, quality: int) -> File:
    """The file to give back: a PNG if any pixel lets light through, else a JPEG; pixels and nothing else."""
    picture.info.clear()  # Pillow would write comments and profiles from here
    data = io.BytesIO()
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255):
        picture.save(data, "PNG")
        return File.from_bytes(data.getvalue(), name=f"{stem}.png")
    opaque = picture.convert("RGB") if picture.mode == "RGBA" else picture
    opaque.save(data, "JPEG", quality=quality)
    return File.from_bytes(data.getvalue(), name=f"{stem}.jpg")


@contextmanager
def _explained(image: File) -> Iterator[None]:
    """Say what is wrong with the file to whoever sent it, and leave alone what is not the file's fault."""
    name = image.name or image.id
    try:
        yield
    except (MemoryError, TimeoutError):
        # Time running out is an OSError, as most of Pillow's are, and says nothing of the picture.
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(
            f"{name} is too large: a picture may have {PIXELS_MAX // 10**6} megapixels; make it smaller first"
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name} is not a picture that can be read here, whatever its name says, or its beginning is"
            f" damaged: send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from error
    except PictureError as error:
        raise PictureError(f"{name} cannot be shown: {error}") from error
    except Exception as error:  # an edge: decoders meet hostile bytes, and raise whatever they like
        raise PictureError(f"{name} is damaged or cut short ({error}): upload it again, complete") from error
