"""Photographs through the public interface: good ones come out as they look, bad ones harm nobody else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.pictures import SAID, file_path, flaw, submit
from tests.photos import Photo, make_photos

PHOTOS = 24
KINDS = {"plain", "rotated", "cmyk", "grey", "alpha", "truncated", "text", "bomb"}

Results = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    photos = make_photos(tmp_path_factory.mktemp("photos"), PHOTOS)
    assert {photo.kind for photo in photos} == KINDS
    return photos


def finished(api: httpx.Client, job: Mapping[str, Any]) -> tuple[dict[str, Any], Results]:
    """A job once it has finished, and its results by index; each index came once."""
    ended = api.get(job["links"]["self"], headers={"Prefer": "wait=60"}).raise_for_status().json()
    text = api.get(job["links"]["results"]).raise_for_status().text
    lines = [json.loads(line) for line in text.splitlines()]
    results = {line["index"]: line for line in lines}
    assert len(results) == len(lines)
    return ended, results


def test_every_good_photograph_comes_out_right_way_up_and_small(
    api: httpx.Client, photos: list[Photo]
) -> None:
    """By their pixels: orientation, colours, and a size that fits into 800 x 600; hostile ones say why not."""
    job, results = finished(api, submit(api, photos))

    assert job["status"] == "completed"
    assert job["counts"] == {
        "total": PHOTOS,
        "queued": 0,
        "running": 0,
        "succeeded": PHOTOS - 3,
        "failed": 3,
        "cancelled": 0,
    }
    assert results.keys() == set(range(PHOTOS))
    for index, photo in enumerate(photos):
        result = results[index]
        made = api.get(file_path(result)).raise_for_status().content if "output" in result else None
        assert flaw(photo, result, made) is None


def test_a_hostile_photograph_fails_alone_with_an_error_that_says_what_to_do(
    api: httpx.Client, photos: list[Photo]
) -> None:
    """Kind, type, a message that names the file, and the place in the task; no other item is tried twice."""
    _, results = finished(api, submit(api, photos))

    for index, photo in enumerate(photos):
        if photo.good:
            assert results[index].keys() >= {"index", "output"}
            assert results[index].keys().isdisjoint({"error", "attempts"})
            continue
        error = results[index]["error"]
        assert "output" not in results[index]
        assert (error["kind"], error["type"]) == ("exception", "PictureError")
        assert error["message"].startswith(f"{photo.path.name} {SAID[photo.kind]}")
        assert "resize_image" in error["traceback"]


def test_a_photograph_keeps_its_name_and_its_type(api: httpx.Client, photos: list[Photo]) -> None:
    """What comes out is named after what went in, and served as what it is."""
    chosen = [photo for photo in photos if photo.kind in ("cmyk", "alpha")]
    _, results = finished(api, submit(api, chosen))

    for index, photo in enumerate(chosen):
        kind = "png" if photo.kind == "alpha" else "jpeg"
        assert Path(results[index]["output"]["name"]).stem == photo.path.stem
        assert api.get(file_path(results[index])).headers["content-type"] == f"image/{kind}"
