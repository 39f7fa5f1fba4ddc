"""`resize_image`, by its pixels: what a user sees, and what a user is told."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageCms
from pydantic import ValidationError

from tests.photos import TURNED, Photo, bomb, make_photos, quadrants
from workers import File
from workers.files import BLOBS, Blobs
from workers.task import TaskSpec
from workers.tasks.images import PIXELS_MAX, PictureError, resize_image

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 40), (30, 40, 220), (255, 255, 255)
ALIKE = 12
"""How far a colour may be off, of 255: JPEG at quality 85, and CMYK there and back."""


@pytest.fixture(autouse=True)
def blobs(tmp_path: Path) -> Iterator[None]:
    token = BLOBS.set(Blobs(tmp_path / "files"))
    yield
    BLOBS.reset(token)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    return make_photos(tmp_path_factory.mktemp("photos"), 13)


def a_picture(mode: str = "RGB", size: tuple[int, int] = (1200, 800)) -> Image.Image:
    """Red in the upper left quarter, green right of it, blue below the red, white in the fourth."""
    small = Image.new("RGB", (2, 2))
    for place, colour in zip(((0, 0), (1, 0), (0, 1), (1, 1)), (RED, GREEN, BLUE, WHITE), strict=True):
        small.putpixel(place, colour)
    return small.resize(size, Image.Resampling.NEAREST).convert(mode)


def stored(picture: Image.Image, name: str, **options: object) -> File:
    data = io.BytesIO()
    picture.save(data, Image.registered_extensions()[Path(name).suffix], **options)
    return File.from_bytes(data.getvalue(), name=name)


def opened(file: File) -> Image.Image:
    with Image.open(file.path) as picture:
        picture.load()
        return picture


def alike(seen: tuple[tuple[int, int, int], ...], meant: tuple[tuple[int, int, int], ...]) -> bool:
    return all(
        abs(s - m) <= ALIKE for a, b in zip(seen, meant, strict=True) for s, m in zip(a, b, strict=True)
    )


def test_a_photograph_fits_into_the_box_and_keeps_its_proportions() -> None:
    """The longer side decides; the other follows."""
    assert opened(resize_image(stored(a_picture(), "a.jpg"))).size == (800, 533)
    assert opened(resize_image(stored(a_picture(size=(800, 1200)), "a.jpg"))).size == (400, 600)
    assert opened(resize_image(stored(a_picture(), "a.jpg"), width=50, height=600)).size == (50, 33)


def test_a_small_picture_is_never_enlarged() -> None:
    """What fits already keeps its size, to the pixel."""
    assert opened(resize_image(stored(a_picture(size=(64, 48)), "a.png"))).size == (64, 48)
    assert opened(resize_image(stored(a_picture(size=(800, 600)), "a.jpg"))).size == (800, 600)


def test_a_line_stays_at_least_one_pixel_thin() -> None:
    """Extreme proportions do not round a side down to nothing."""
    assert opened(resize_image(stored(a_picture(size=(9000, 1)), "a.png"))).size == (800, 1)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_right_way_up(orientation: int, name: str) -> None:
    """The red corner is in the upper left, the box is that of the upright picture, and the tag is gone."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = a_picture()
    held = upright.transpose(TURNED[orientation]) if orientation in TURNED else upright

    result = opened(resize_image(stored(held, name, exif=exif), width=300, height=1000))

    assert result.size == (300, 200)
    assert alike(quadrants(result), quadrants(upright))
    assert not result.getexif()


def test_a_cmyk_photograph_keeps_its_colours() -> None:
    """CMYK becomes RGB, not its negative."""
    result = opened(resize_image(stored(a_picture("CMYK"), "print.jpg")))
    assert (result.format, result.mode) == ("JPEG", "RGB")
    assert alike(quadrants(result), quadrants(a_picture()))


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_stays_grey(mode: str) -> None:
    """A picture without colour has one channel afterwards too."""
    picture = a_picture("L").convert(mode, dither=Image.Dither.NONE)
    result = opened(resize_image(stored(picture, "a.png")))
    assert (result.format, result.mode) == ("JPEG", "L")
    assert alike(quadrants(result), quadrants(picture))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_become_eight_without_losing_the_light_half(name: str) -> None:
    """The high byte decides; nothing is cut off at 255."""
    grey = a_picture("L")
    sixteen = grey.convert("I").point(lambda value: value * 257).convert("I;16")
    assert alike(quadrants(opened(resize_image(stored(sixteen, name)))), quadrants(grey))


def test_thirty_two_bit_pixels_are_refused_with_a_reason() -> None:
    """No white is agreed on for them, so no guess is made."""
    with pytest.raises(PictureError, match=r"scan\.tif cannot be shown: its pixels are 32-bit numbers"):
        resize_image(stored(a_picture("L").convert("F"), "scan.tif"))


def test_a_palette_is_averaged_as_colours() -> None:
    """A scaled palette picture has colours in between, where indexes would have none."""
    stripes = Image.new("P", (1600, 1200), 0)
    stripes.putpalette([*RED, *BLUE])
    stripes.paste(1, (0, 0, 801, 1200))
    result = opened(resize_image(stored(stripes, "a.gif"), quality=95))
    red, _, blue = result.convert("RGB").getpixel((400, 300))  # type: ignore[misc]  # Pillow's type has floats too
    assert RED[0] - 40 > red > BLUE[0] + 40
    assert BLUE[2] - 40 > blue > RED[2] + 40


@pytest.mark.parametrize("name", ["logo.png", "logo.webp", "logo.tif"])
def test_transparency_is_kept_as_a_png(name: str) -> None:
    """Half the picture lets light through before and after, and its hidden colour does not bleed."""
    picture = a_picture("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 1200, 400))
    result = opened(resize_image(stored(picture, name)))
    assert (result.format, result.mode) == ("PNG", "RGBA")
    alpha = result.getchannel("A")
    assert (alpha.getpixel((400, 100)), alpha.getpixel((400, 500))) == (0, 255)
    assert alike((result.getpixel((100, 500))[:3],), (BLUE,))  # type: ignore[index,arg-type]  # as above


def test_a_transparent_palette_colour_is_kept_as_a_png() -> None:
    """One transparent index (GIF, PNG's tRNS) is transparency as well."""
    picture = a_picture().quantize(4)
    white = picture.getpixel((1100, 700))
    for name in ("a.gif", "a.png"):
        result = opened(resize_image(stored(picture, name, transparency=white)))
        assert result.format == "PNG"
        assert result.getchannel("A").getpixel((750, 500)) == 0
        assert result.getchannel("A").getpixel((10, 10)) == 255


def test_an_alpha_channel_without_a_transparent_pixel_is_no_transparency() -> None:
    """A photograph exported with an idle alpha channel becomes a JPEG."""
    result = resize_image(stored(a_picture("RGBA"), "export.png"))
    assert result.name == "export.jpg"
    assert alike(quadrants(opened(result)), quadrants(a_picture()))


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries changed places: only a colour-managed reader notices."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_an_embedded_profile_is_converted_to_srgb(name: str) -> None:
    """Colours come out as the profile means them, and the profile is gone."""
    result = opened(resize_image(stored(a_picture(), name, icc_profile=swapped_profile())))
    red, green, _ = quadrants(result)[0]
    assert green > red + 100
    assert "icc_profile" not in result.info


def test_a_profile_is_honoured_under_transparency_too() -> None:
    """The alpha channel passes through the conversion unchanged."""
    picture = a_picture("RGBA")
    picture.putalpha(128)
    result = opened(resize_image(stored(picture, "a.png", icc_profile=swapped_profile())))
    red, green, _ = quadrants(result)[0]
    assert green > red + 100
    assert result.getchannel("A").getextrema() == (128, 128)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("RGB", b"junk"), ("CMYK", b"junk"), ("CMYK", swapped_profile()), ("L", swapped_profile())],
    ids=["broken", "broken, CMYK", "of RGB for CMYK", "of RGB for grey"],
)
def test_a_profile_that_does_not_apply_is_ignored(mode: str, profile: bytes) -> None:
    """A broken profile, or one for other colours, costs nobody the picture."""
    result = opened(resize_image(stored(a_picture(mode), "a.jpg", icc_profile=profile)))
    assert alike(quadrants(result), quadrants(a_picture(mode)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_no_metadata_leaks(mode: str) -> None:
    """Neither camera, place, comment, profile nor resolution is in the result."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Secretive"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "Secret-N"
    picture = a_picture(mode)
    if mode == "RGBA":
        picture.putalpha(128)
        source = stored(picture, "a.png", exif=exif, dpi=(300, 300), icc_profile=swapped_profile())
    else:
        source = stored(picture, "a.jpg", exif=exif, dpi=(300, 300), comment=b"Secret comment")
    assert b"Secret" in source.path.read_bytes()

    result = resize_image(source)

    assert not set(opened(result).info) - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not re.search(rb"Secret|ICC|iCCP|Exif|eXIf", result.path.read_bytes())


def test_quality_decides_the_size_of_a_jpeg(photos: list[Photo]) -> None:
    """More quality, more bytes."""
    source = File.from_path(photos[0].path)
    small, large = (resize_image(source, quality=quality).path.stat().st_size for quality in (30, 95))
    assert small * 2 < large


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("beach.png", "beach.jpg"),
        ("my.beach.JPEG", "my.beach.jpg"),
        ("beach", "beach.jpg"),
        (None, "image.jpg"),
    ],
)
def test_the_result_is_named_after_the_input(name: str | None, expected: str) -> None:
    """The stem stays, the ending tells what it is now."""
    source = File(stored(a_picture(), "a.png").id, name=name)
    assert resize_image(source).name == expected


def test_the_same_picture_gives_the_same_file() -> None:
    """Running an item again changes nothing: the result is the same bytes, so the same id."""
    source = stored(a_picture(), "a.jpg")
    assert resize_image(source).id == resize_image(source).id


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.2])
def test_a_truncated_picture_is_an_error_not_a_half_grey_result(photos: list[Photo], kept: float) -> None:
    """The message names the file and what to do."""
    data = photos[0].path.read_bytes()
    with pytest.raises(
        PictureError, match=r"^beach\.jpg is damaged or cut short .*: upload it again, complete$"
    ):
        resize_image(File.from_bytes(data[: int(len(data) * kept)], name="beach.jpg"))


@pytest.mark.filterwarnings("ignore")  # Pillow's own remarks are for the item's log
@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.webp", "a.tif", "a.bmp", "a.avif"])
@pytest.mark.parametrize("kept", [0.97, 0.5, 0.02])
def test_a_truncated_picture_of_any_format_is_an_error(name: str, kept: float) -> None:
    """Whatever a decoder raises, the user reads one of our messages."""
    data = stored(Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 90), name).path.read_bytes()
    with pytest.raises(PictureError, match=r"^a\.\w+ is "):
        resize_image(File.from_bytes(data[: int(len(data) * kept)], name=name))


@pytest.mark.parametrize(
    "data", [b"Dear sir or madam,\n", b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_a_file_that_is_no_picture_is_an_error_that_says_what_to_send(data: bytes) -> None:
    """The name does not matter, the content does; PostScript is never run."""
    with pytest.raises(PictureError, match=r"^notes\.jpg is not a picture .* send JPEG, PNG, .* or AVIF$"):
        resize_image(File.from_bytes(data, name="notes.jpg"))


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    """Both below and above the size at which Pillow itself refuses; the limit is in the message."""
    data = bomb(side)
    assert len(data) < 200_000
    with pytest.raises(PictureError, match=r"^bomb\.png is too large: a picture may have 80 megapixels"):
        resize_image(File.from_bytes(data, name="bomb.png"))


def test_a_picture_just_over_the_limit_is_refused_and_just_under_it_is_not() -> None:
    """The limit is ours, and lower than the one at which Pillow starts to warn."""
    assert (Image.MAX_IMAGE_PIXELS or 0) > PIXELS_MAX
    with pytest.raises(PictureError, match="too large"):
        resize_image(File.from_bytes(bomb(9000), name="bomb.png"))
    assert opened(resize_image(File.from_bytes(bomb(8900), name="large.png"))).size == (600, 600)


def test_a_file_without_a_name_is_named_by_its_id_in_errors() -> None:
    """Every message says which file it means."""
    file = File.from_bytes(b"no picture")
    with pytest.raises(PictureError, match=f"^{file.id} is not a picture"):
        resize_image(file)


def test_running_out_of_time_is_not_blamed_on_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout is an OSError, as Pillow's errors are, and still passes as what it is."""

    def out_of_time(*_: object, **__: object) -> None:
        raise TimeoutError("30 seconds")

    monkeypatch.setattr(Image.Image, "thumbnail", out_of_time)
    with pytest.raises(TimeoutError, match="30 seconds"):
        resize_image(stored(a_picture(), "a.jpg"))


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"height": -1}, {"quality": 0}, {"quality": 101}, {"width": 100_000}]
)
def test_impossible_sizes_and_qualities_are_invalid_input(wrong: dict[str, int]) -> None:
    """The schema refuses them before the task runs."""
    spec = TaskSpec.of(resize_image)
    with pytest.raises(ValidationError):
        spec.arguments.validate_python({"image": stored(a_picture(), "a.jpg").id, **wrong})


def test_every_kind_of_photograph_is_among_the_hundred(photos: list[Photo]) -> None:
    """Three are hostile, the rest good, and they come in several megapixels."""
    assert {photo.kind for photo in photos} == {
        *("plain", "rotated", "cmyk", "grey", "alpha"),
        *("truncated", "text", "bomb"),
    }
    assert sum(not photo.good for photo in photos) == 3
    assert all(
        3.9e6 < photo.upright_size[0] * photo.upright_size[1] < 8.1e6 for photo in photos if photo.good
    )


def test_good_photographs_come_out_as_they_look_and_bad_ones_as_errors(photos: list[Photo]) -> None:
    """Size, orientation and colours of each are those of the upright original, on white paper."""
    for photo in photos:
        source = File.from_path(photo.path)
        if not photo.good:
            with pytest.raises(PictureError, match=photo.path.name):
                resize_image(source)
            continue
        result = opened(resize_image(source)).convert("RGBA")
        wide, high = photo.upright_size
        scale = min(800 / wide, 600 / high)
        on_white = Image.alpha_composite(Image.new("RGBA", result.size, "white"), result)
        assert result.size == (round(wide * scale), round(high * scale)), photo
        assert alike(quadrants(on_white), photo.quadrants), photo


def test_the_same_photographs_are_made_every_time(tmp_path: Path, photos: list[Photo]) -> None:
    """A failing photograph can be made again."""
    again = make_photos(tmp_path, 13)
    assert [photo.path.read_bytes() for photo in again] == [photo.path.read_bytes() for photo in photos]
