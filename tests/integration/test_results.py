"""All ways to read results are reads of one log: the same lines, in a stable order, from any cursor on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.integration.answers import Document, document_of, ended, lines_of, submitted


@contextmanager
def a_live_job(api: httpx.Client, seconds: list[float]) -> Iterator[Document]:
    """A job of items that sleep this long, each a chunk of its own; it is cancelled and waited for afterwards."""
    job = submitted(api, "sleep_for", seconds, chunksize=1)
    try:
        yield job
    finally:
        api.post(job["links"]["cancel"])
        ended(api, job["id"])


def body(api: httpx.Client, job: Document, **query: object) -> bytes:
    """The lines there are now."""
    return api.get(job["links"]["results"], params=query).raise_for_status().content  # type: ignore[arg-type]


def page(api: httpx.Client, job: Document, **query: object) -> Document:
    path = f"/v1/jobs/{job['id']}/results"
    return document_of(api.get(path, params=query).raise_for_status())  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["completion", "index"])
@pytest.mark.parametrize(("status", "count"), [(None, 40), ("succeeded", 30), ("failed", 10)])
@pytest.mark.parametrize("limit", [1, 7, 10, 10_000])
def test_pages_lead_through_every_view(
    api: httpx.Client, mixed: Document, *, order: str, status: str | None, count: int, limit: int
) -> None:
    """Following `next_after` gives each line of the view once, the same as the JSONL of that view."""
    view = {"order": order} | ({"status": status} if status else {})
    seen: list[Document] = []
    complete = False
    while not complete:
        got = page(api, mixed, after=len(seen), limit=limit, **view)
        assert got["after"] == len(seen)
        assert len(got["results"]) <= limit
        seen += got["results"]
        assert got["next_after"] == len(seen)
        complete = got["complete"]

    assert len(seen) == count
    assert seen == lines_of(body(api, mixed, **view))


def test_a_page_links_to_the_next_until_the_last(api: httpx.Client, mixed: Document) -> None:
    """`Link: rel="next"` carries the whole view on; a complete page has none."""
    first = api.get(f"/v1/jobs/{mixed['id']}/results?limit=25&order=index&status=succeeded")
    second = api.get(first.links["next"]["url"])

    query = parse_qs(urlsplit(first.links["next"]["url"]).query)
    assert query == {"limit": ["25"], "order": ["index"], "status": ["succeeded"], "after": ["25"]}
    assert second.json()["after"] == 25
    assert second.json()["complete"] is True
    assert "next" not in second.links


def test_views_by_status_share_out_the_lines(api: httpx.Client, mixed: Document) -> None:
    """Succeeded and failed lines are all lines, each with exactly one of `output` and `error`."""
    succeeded, failed = (lines_of(body(api, mixed, status=status)) for status in ("succeeded", "failed"))

    assert all("output" in line and "error" not in line for line in succeeded)
    assert all("error" in line and "output" not in line for line in failed)
    assert {line["index"] for line in failed} == {*range(0, 40, 4)}
    whole = lines_of(body(api, mixed))
    assert [line for line in whole if "error" in line] == failed
    assert [line for line in whole if "output" in line] == succeeded


@pytest.mark.parametrize("view", [{}, {"order": "index"}, {"status": "failed"}, {"status": "succeeded"}])
def test_a_client_resumes_by_counting_its_lines(
    api: httpx.Client, mixed: Document, view: dict[str, str]
) -> None:
    """From any line on, the rest is byte for byte the rest of the whole."""
    whole = body(api, mixed, **view)
    lines = whole.splitlines(keepends=True)

    for count in range(len(lines) + 2):
        assert body(api, mixed, after=count, **view) == b"".join(lines[count:])


def test_pages_and_lines_are_the_same_bytes(api: httpx.Client, mixed: Document) -> None:
    """What JSON pages carry is spliced, not encoded again."""
    lines = body(api, mixed).splitlines()

    response = api.get(f"/v1/jobs/{mixed['id']}/results")

    assert response.content.startswith(b'{"results":[' + b",".join(lines) + b"]")


def test_results_of_a_live_job_come_as_they_complete(api: httpx.Client) -> None:
    """A slow first item holds up nobody in order of completion; its line comes last."""
    with a_live_job(api, [0.8, 0, 0, 0]) as job:
        lines = lines_of(body(api, job, follow=1))

    assert [line["index"] for line in lines] == [1, 2, 3, 0]


def test_order_by_index_on_a_live_job_is_input_order(api: httpx.Client) -> None:
    """A line comes as soon as all before it are final, and never before."""
    with a_live_job(api, [0, 0.8, 0, 0]) as job:
        until_done(api, job, 3)
        early = lines_of(body(api, job, order="index"))
        lines = lines_of(body(api, job, order="index", follow=1))

    assert [line["index"] for line in early] == [0]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]


@pytest.mark.parametrize("order", ["completion", "index"])
def test_following_can_be_resumed_on_a_live_job(api: httpx.Client, order: str) -> None:
    """Lines read so far and a second connection from there on are together the whole, in any order."""
    with a_live_job(api, [0, 0.3, 0, 0.3, 0, 0.3]) as job:
        path = job["links"]["results"]
        with api.stream("GET", path, params={"follow": 1, "order": order}) as response:
            begun = b""
            for piece in response.iter_bytes():
                begun += piece
                if begun.count(b"\n") >= 2:
                    break
        begun = begun[: begun.rfind(b"\n") + 1]
        rest = body(api, job, follow=1, order=order, after=begun.count(b"\n"))

        assert begun + rest == body(api, job, order=order)
        assert (begun + rest).count(b"\n") == 6


def test_following_a_finished_job_is_reading_it(api: httpx.Client, mixed: Document) -> None:
    """There is nothing to wait for: the same bytes, and a clean end."""
    assert body(api, mixed, follow=1) == body(api, mixed, follow=0) == body(api, mixed)


def test_following_failures_ends_with_the_job(api: httpx.Client) -> None:
    """A view that nothing comes to ends when nothing can come any more."""
    with a_live_job(api, [0.2, 0.2]) as job:
        assert body(api, job, follow=1, status="failed") == b""
        assert api.get(job["links"]["self"]).json()["status"] == "completed"


def test_a_page_waits_for_one_more_line(api: httpx.Client) -> None:
    """`wait=N` answers as soon as there is a line after the cursor."""
    with a_live_job(api, [0.2, 0.6]) as job:
        empty = page(api, job)
        waited = page(api, job, wait=30)

    assert (empty["results"], empty["complete"]) == ([], False)
    assert [line["index"] for line in waited["results"]] == [0]
    assert waited["complete"] is False


def test_a_page_waits_no_longer_than_it_was_told(api: httpx.Client) -> None:
    """With nothing new the page is empty, says so, and links to itself."""
    with a_live_job(api, [0.6]) as job:
        response = api.get(f"/v1/jobs/{job['id']}/results", params={"wait": 0.3})

    got = response.json()
    assert (got["results"], got["next_after"], got["complete"]) == ([], 0, False)
    assert "after=0" in response.links["next"]["url"]
    assert response.elapsed.total_seconds() < 5


def test_a_page_stops_waiting_when_the_job_ends(api: httpx.Client) -> None:
    """The end of the job is news too: the page is complete."""
    with a_live_job(api, [0.3]) as job:
        got = page(api, job, wait=30, status="failed")

    assert (got["results"], got["complete"]) == ([], True)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/jsonl"),
        ("*/*", "application/jsonl"),
        ("application/jsonl", "application/jsonl"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/html, application/x-ndjson;q=0.5", "application/x-ndjson"),
    ],
)
def test_the_content_type_is_what_the_client_calls_json_lines(
    api: httpx.Client, mixed: Document, accept: str | None, media_type: str
) -> None:
    """Both names are echoed; without one it is application/jsonl."""
    headers = {"Accept": accept} if accept else {}

    response = api.get(mixed["links"]["results"], headers=headers)

    assert response.headers["content-type"] == media_type


def test_a_cancelled_job_keeps_the_results_it_has(api: httpx.Client) -> None:
    """Reading in either order gives what was done, and says that it is complete."""
    with a_live_job(api, [0.0, 30, 0.0, 30, 30]) as job:
        until_done(api, job, 2)

    cancelled = ended(api, job["id"])
    done = cancelled["counts"]["succeeded"] + cancelled["counts"]["failed"]
    by_index = lines_of(body(api, job, order="index"))
    assert [line["index"] for line in by_index if "output" in line] == [0, 2]
    assert len(by_index) == len(lines_of(body(api, job))) == done
    assert page(api, job, after=done)["complete"] is True


def test_a_megabyte_line_is_one_line(api: httpx.Client) -> None:
    """A result larger than any page's target still comes, whole, and the cursor moves by one."""
    job = ended(api, submitted(api, "echo", ["x" * (9 << 19), "y" * (9 << 19), "z"])["id"])

    got = page(api, job, order="index")
    rest = page(api, job, order="index", after=got["next_after"])

    assert json.dumps(got["results"] + rest["results"]).count('"output"') == 3
    assert rest["complete"] is True


def until_done(api: httpx.Client, job: Document, count: int) -> None:
    """Wait until that many lines are there."""
    after = 0
    while after < count:
        after = page(api, job, after=after, wait=30)["next_after"]
