"""The results of a finished job are a file: it has a length, a tag, and parts that can be asked for."""

import subprocess
from pathlib import Path

import httpx
import pytest

from bench.server import Server
from tests.integration.answers import Document, ended, problem_of, submitted

VIEWS = [
    "",
    "?order=index",
    "?status=failed",
    "?status=succeeded&order=index",
    "?after=7",
    "?follow=1&after=3",
]


@pytest.mark.parametrize("query", VIEWS)
def test_a_download_has_a_length_and_a_tag(api: httpx.Client, mixed: Document, query: str) -> None:
    """Of just this view; the tag saves sending it again."""
    url = mixed["links"]["results"] + query

    whole = api.get(url)
    again = api.get(url, headers={"If-None-Match": f'W/"other", {whole.headers["etag"]}'})
    other = api.get(url, headers={"If-None-Match": '"other"'})

    assert int(whole.headers["content-length"]) == len(whole.content) > 0
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["etag"].startswith('"')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", whole.headers["etag"])
    assert other.content == whole.content


def test_every_view_has_a_tag_of_its_own(api: httpx.Client, mixed: Document) -> None:
    """Another order, filter or cursor is another body."""
    tags = {
        api.head(mixed["links"]["results"] + query).headers["etag"] for query in ["", *VIEWS[1:5], "?after=8"]
    }

    assert len(tags) == 6


@pytest.mark.parametrize("query", VIEWS)
def test_any_part_can_be_asked_for(api: httpx.Client, mixed: Document, query: str) -> None:
    """From anywhere to anywhere: the same bytes as in the whole."""
    url = mixed["links"]["results"] + query
    whole = api.get(url).content
    size = len(whole)

    for first in range(0, size, 97):
        last = min(first + 150, size - 1)
        part = api.get(url, headers={"Range": f"bytes={first}-{last}"})
        assert part.status_code == 206
        assert part.content == whole[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert int(part.headers["content-length"]) == last + 1 - first


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=10-", 10, None),
        ("bytes=-10", -10, None),
        ("bytes=0-99999999", 0, None),
        ("bytes=-99999999", 0, None),
    ],
)
def test_open_ranges_mean_what_they_mean_everywhere(
    api: httpx.Client, mixed: Document, header: str, start: int, stop: int | None
) -> None:
    """RFC 9110, 14.1.2."""
    whole = api.get(mixed["links"]["results"]).content

    part = api.get(mixed["links"]["results"], headers={"Range": header})

    assert (part.status_code, part.content) == (206, whole[start:stop])


@pytest.mark.parametrize(
    "header", ["bytes=0-1,5-6", "items=0-1", "bytes=5-2", "bytes=", "bytes=-", "nonsense"]
)
def test_a_range_that_is_none_of_ours_is_answered_with_everything(
    api: httpx.Client, mixed: Document, header: str
) -> None:
    """As a server may that does not know it."""
    answer = api.get(mixed["links"]["results"], headers={"Range": header})

    assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["content-length"]))


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(api: httpx.Client, mixed: Document, header: str) -> None:
    """416 says how much there is."""
    size = api.head(mixed["links"]["results"]).headers["content-length"]

    answer = api.get(mixed["links"]["results"], headers={"Range": header})

    assert size in problem_of(answer, 416)["detail"]
    assert answer.headers["content-range"] == f"bytes */{size}"


def test_a_part_of_what_has_changed_is_the_whole(api: httpx.Client, mixed: Document) -> None:
    """`If-Range` with the tag gives the part, with another one everything."""
    url, headers = mixed["links"]["results"], {"Range": "bytes=0-9"}
    etag = api.head(url).headers["etag"]

    assert api.get(url, headers=headers | {"If-Range": etag}).status_code == 206
    assert api.get(url, headers=headers | {"If-Range": '"other"'}).status_code == 200


def test_a_broken_download_goes_on_where_it_broke(server: Server, api: httpx.Client, tmp_path: Path) -> None:
    """`curl -C -` fetches the rest."""
    job = ended(api, submitted(api, "square", list(range(20_000)))["id"])
    url = f"{server.url}{job['links']['results']}"
    whole = api.get(url).content
    target = tmp_path / "results.jsonl"
    target.write_bytes(whole[: len(whole) // 3])

    subprocess.run(["curl", "-sS", "-m", "20", "-C", "-", "-o", str(target), url], check=True)

    assert target.read_bytes() == whole


def test_a_live_job_is_no_file(api: httpx.Client) -> None:
    """It has no length, no tag, and nothing but the whole, since more will come."""
    job = submitted(api, "sleep_for", [0, 5], chunksize=1)
    try:
        with api.stream("GET", job["links"]["results"], headers={"Range": "bytes=0-0"}) as answer:
            assert answer.status_code == 200
            assert not {"etag", "content-length", "content-range"} & set(answer.headers)
    finally:
        api.post(job["links"]["cancel"])
