"""W3: a hundred photographs made smaller by two workers, against the same function in one process.

The first reference is the serial time divided by two: what two workers take that lose nothing.  The second is
`multiprocessing.Pool`, which shares the machine with whatever else runs as the service does.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec

from bench.figure import Figure, WrongResult, ratio_at_most
from bench.following import Submission, as_document, follow
from bench.pictures import BOX, file_path, flaw, submit
from bench.scale import WORKERS, Scale
from bench.server import serving
from bench.timing import timed
from tests.photos import Photo, make_photos
from workers import File
from workers.files import BLOBS, Blobs
from workers.tasks.images import PictureError, resize_image


@dataclass(frozen=True, slots=True)
class Size:
    photos: int
    runs: int


SIZES: Mapping[Scale, Size] = {"full": Size(100, 5), "quick": Size(24, 1), "tiny": Size(2, 1)}

Item = dict[str, dict[str, str]]
Results = list[dict[str, Any]]
Name = tuple[str, str | None]
"""A stored file's id, and what it was called."""

_lines = msgspec.json.Decoder().decode_lines


def measure(scale: Scale) -> list[Figure]:
    """The picture job, sent with its pictures and on pictures that are there.  WrongResult if one comes out wrong."""
    size = SIZES[scale]
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory(prefix="millpond-bench-") as directory:
        photos = make_photos(Path(directory, "photos"), size.photos)
        with (
            _kept(Path(directory, "serial"), photos) as files,
            serving(Path(directory, "data"), processes=str(WORKERS)) as server,
            server.client() as client,
            get_context("forkserver").Pool(WORKERS, _keep_files_in, (Path(directory, "serial"),)) as pool,
        ):
            names = [(file.id, file.name) for file in files]
            items = msgspec.json.encode([_upload(client, photo) for photo in photos])
            submission = as_document("resize_image", items, params={"width": BOX[0], "height": BOX[1]})
            for _ in range(size.runs):
                seconds["ideal"].append(timed(_one_after_the_other, names)[0] / WORKERS)
                seconds["map"].append(timed(pool.map, _resize, names, 1)[0])
                took, results = timed(_run_stored, server.url, submission)
                _check(client, photos, results)
                seconds["stored"].append(took)
                took, results = timed(_run_sent, client, photos)
                _check(client, photos, results)
                seconds["sent"].append(took)
    ideal, count = f"serial / {WORKERS}", f"{size.photos} of 4-8 MP"
    stored, mapped = "photographs, stored before", f"Pool({WORKERS}).map, chunksize 1"
    return [
        Figure(stored, count, seconds["stored"], "s", seconds["ideal"], ideal, ratio_at_most(1.05)),
        Figure(stored, count, seconds["stored"], "s", seconds["map"], mapped),
        Figure("photographs, upload included", count, seconds["sent"], "s", seconds["ideal"], ideal),
    ]


def _one_after_the_other(names: Sequence[Name]) -> None:
    for name in names:
        _resize(name)


def _resize(name: Name) -> None:
    with suppress(PictureError):
        resize_image(File(name[0], name=name[1]), *BOX)


def _keep_files_in(directory: Path) -> None:
    BLOBS.set(Blobs(directory))


def _run_stored(url: str, submission: Submission) -> Results:
    results: Results = _lines(follow(url, submission))
    return results


def _run_sent(client: httpx.Client, photos: Sequence[Photo]) -> Results:
    path = submit(client, photos)["links"]["results"]
    results: Results = _lines(client.get(path, params={"follow": 1}).raise_for_status().content)
    return results


def _check(client: httpx.Client, photos: Sequence[Photo], results: Results) -> None:
    """One result for each photograph, and the one it should have; else WrongResult."""
    if sorted(result["index"] for result in results) != list(range(len(photos))):
        raise WrongResult(f"{len(results)} results of {len(photos)} photographs")
    for result in results:
        made = client.get(file_path(result)).raise_for_status().content if "output" in result else None
        if wrong := flaw(photos[result["index"]], result, made):
            raise WrongResult(wrong)


def _upload(client: httpx.Client, photo: Photo) -> Item:
    """An item: a photograph that is stored at the service."""
    query = {"name": photo.path.name}
    stored = client.post("/v1/files", params=query, content=photo.path.read_bytes()).raise_for_status().json()
    return {"image": {"file": stored["file"], "name": photo.path.name}}


@contextmanager
def _kept(directory: Path, photos: Sequence[Photo]) -> Iterator[list[File]]:
    """The photographs as files of this process, as a worker is given them."""
    token = BLOBS.set(Blobs(directory))
    try:
        yield [File.from_path(photo.path) for photo in photos]
    finally:
        BLOBS.reset(token)
