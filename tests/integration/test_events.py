"""Server-sent events: what happens to a job as it happens, and each result once, over any number of connections."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import httpx_sse
import pytest

from tests.conftest import serving
from tests.integration.answers import (
    Document,
    Event,
    client,
    ended,
    events_of,
    problem_of,
    submitted,
)

LINES_MAX = 250
BYTES_MAX = 64 << 10


@contextmanager
def a_live_job(api: httpx.Client, task: str, items: list[float], **options: object) -> Iterator[Document]:
    """A job that runs; it is cancelled and waited for afterwards."""
    job = submitted(api, task, items, **options)
    try:
        yield job
    finally:
        api.post(job["links"]["cancel"])
        ended(api, job["id"])


@contextmanager
def a_stream(
    api: httpx.Client, job: Document, last_id: str | None = None, **query: object
) -> Iterator[httpx.Response]:
    headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    with api.stream("GET", job["links"]["events"], params=query, headers=headers) as response:  # type: ignore[arg-type]
        yield response


def events(api: httpx.Client, job: Document, last_id: str | None = None, **query: object) -> list[Event]:
    """Every event up to a clean end."""
    with a_stream(api, job, last_id, **query) as response:
        return list(events_of(response))


def lines_in(events: list[Event]) -> list[bytes]:
    return [line for event in events if event.name == "results" for line in event.lines]


def lines(api: httpx.Client, job: Document, **query: object) -> list[bytes]:
    """The same view as JSON lines."""
    return api.get(job["links"]["results"], params=query).content.splitlines()  # type: ignore[arg-type]


def test_a_stream_says_what_it_is_and_that_nobody_may_hold_it_back(
    api: httpx.Client, mixed: Document
) -> None:
    """Content type, no caching, no transforming, no proxy buffering."""
    with a_stream(api, mixed) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"


def test_the_first_block_says_when_to_come_back_and_what_the_job_is(
    api: httpx.Client, mixed: Document
) -> None:
    """`retry`, `event: job`, an id and the whole Job stand in the first block, one line each."""
    with a_stream(api, mixed) as response:
        body = b"".join(response.iter_bytes())

    first = body.split(b"\n\n")[0].split(b"\n")
    assert [line.partition(b":")[0] for line in first] == [b"retry", b"event", b"id", b"data"]
    assert first[0].removeprefix(b"retry: ").isdigit()
    assert first[1] == b"event: job"
    assert json.loads(first[3].removeprefix(b"data: "))["id"] == mixed["id"]


def test_a_finished_job_is_replayed_and_ended(api: httpx.Client, mixed: Document) -> None:
    """A first connection after the end gets `job`, every line, and one `end` with the whole Job."""
    got = events(api, mixed, include="results")

    names = [event.name for event in got]
    assert (names[0], names[-1], names.count("end")) == ("job", "end", 1)
    assert set(names[1:-1]) == {"results"}
    assert got[-1].document == ended_document(api, mixed)
    assert got[-1].id == "40"
    assert lines_in(got) == lines(api, mixed)


def test_without_include_there_are_no_lines(api: httpx.Client, mixed: Document) -> None:
    """Who asks for the job's changes only is sent them only."""
    assert [event.name for event in events(api, mixed)] == ["job", "end"]


@pytest.mark.parametrize("order", ["completion", "index"])
def test_a_live_job_is_told_from_its_first_line_to_its_end(api: httpx.Client, order: str) -> None:
    """Each line comes once, in the view's order; `id` counts the lines so far; then `end`, and a clean close."""
    with a_live_job(api, "sleep_for", [0.3, 0, 0.3, 0, 0.3, 0], chunksize=1) as job:
        got = events(api, job, include="results", order=order)

        count = 0
        for event in got:
            count += len(event.lines) if event.name == "results" else 0
            assert event.id == str(count)
        assert got[-1].name == "end"
        assert got[-1].document["status"] == "completed"
        assert lines_in(got) == lines(api, job, order=order)
        assert count == 6


def test_batches_are_bounded_by_lines_and_bytes(api: httpx.Client) -> None:
    """No `results` event has more than 250 lines or about 64 KiB, and none is empty."""
    job = ended(api, submitted(api, "echo", ["x" * (n % 700) for n in range(2000)])["id"])

    got = [event for event in events(api, job, include="results") if event.name == "results"]

    assert {len(event.lines) for event in got} <= {*range(1, LINES_MAX + 1)}
    assert max(len(event.data) for event in got) <= BYTES_MAX + 100
    assert lines_in(got) == lines(api, job)
    assert len(got) < 40  # a reader that lags gets full ones


def test_a_line_larger_than_a_batch_comes_alone(api: httpx.Client) -> None:
    """What does not fit into 64 KiB is still one event, and holds nothing up."""
    job = ended(api, submitted(api, "echo", ["x" * 100_000, 1, "y" * 100_000, 2])["id"])

    got = events(api, job, include="results", order="index")

    assert lines_in(got) == lines(api, job, order="index")


def test_progress_comes_at_most_twice_a_second_and_only_on_change(api: httpx.Client) -> None:
    """`progress` has the counts, which only grow, and no two alike."""
    with a_live_job(api, "sleep_for", [0.02] * 150, chunksize=1) as job:
        started = time.monotonic()
        got = [event.document for event in events(api, job) if event.name == "progress"]
        seconds = time.monotonic() - started

    assert got
    assert len(got) <= seconds * 2 + 1
    members = {"status", "counts", "progress", "items_per_second", "eta_seconds"}
    assert {frozenset(document) for document in got} == {frozenset(members)}
    counts = [tuple(document["counts"].values()) for document in got]
    assert len(set(counts)) == len(counts)
    done = [document["counts"]["succeeded"] for document in got]
    assert done == sorted(done)


def test_a_stream_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    """It gets the job as it is, and is closed; the one that is open goes on."""
    with serving(tmp_path, max_streams="1") as server, client(server) as api:
        job = submitted(api, "sleep_for", [30])
        with a_stream(api, job) as response:
            events = events_of(response)  # kept, as the stream is closed with it
            first = next(events)
            more = api.get(job["links"]["events"])
            everything = api.get("/v1/events")

        assert first.name == "job"
        assert (more.status_code, everything.status_code) == (200, 200)
        assert more.text.startswith("retry: 15000\nevent: job\nid: 0\n")
        assert more.text.count("event: ") == 1
        assert everything.text == "retry: 15000\n\n"
        api.post(job["links"]["cancel"] + "?force=1")


def test_each_change_of_status_is_told(api: httpx.Client) -> None:
    """A job that waits, runs and is cancelled says so each time, and ends as `cancelled`."""
    with (
        a_live_job(api, "sleep_for", [0.5, 0.5], chunksize=1) as busy,
        a_live_job(api, "hold_gil", [30], chunksize=1) as job,  # which does not end as soon as it is asked to
        a_stream(api, job) as response,
    ):
        told = []
        for event in events_of(response):
            if event.name in ("job", "end"):
                told.append(event.document["status"])
            if told[-1] == "running":
                api.post(job["links"]["cancel"])
        ended(api, busy["id"])

    assert told == ["queued", "running", "cancelling", "cancelled"]


@pytest.mark.parametrize(
    "view", [{"include": "results"}, {"include": "results", "order": "index"}, {"include": "failures"}]
)
def test_a_reconnect_misses_and_repeats_nothing(
    api: httpx.Client, mixed: Document, view: dict[str, str]
) -> None:
    """From any cursor, `Last-Event-ID` and `after` alike give the rest of the view, and its `end`."""
    status = {"status": "failed"} if view["include"] == "failures" else {}
    whole = lines(api, mixed, order=view.get("order", "completion"), **status)

    for cursor in range(len(whole)):
        resumed = events(api, mixed, str(cursor), **view)
        started = events(api, mixed, after=cursor, **view)
        assert lines_in(resumed) == lines_in(started) == whole[cursor:]
        assert resumed[-1].name == started[-1].name == "end"
        assert resumed[0].id == str(cursor)


def test_a_live_stream_broken_after_any_event_can_be_taken_up(api: httpx.Client) -> None:
    """A client that reconnects after each event with its `id` ends with every line once, in order."""
    with a_live_job(api, "sleep_for", [0.05] * 30, chunksize=1) as job:
        got: list[bytes] = []
        last: Event | None = None
        while last is None or last.name != "end":
            with a_stream(api, job, last.id if last else None, include="results") as response:
                if response.status_code == 204:
                    break
                for event in events_of(response):
                    last = event
                    if event.name != "job":
                        got += lines_in([event])
                        break

        assert got == lines(api, job)
        assert len(got) == 30


def test_all_viewers_are_sent_the_same_events(api: httpx.Client) -> None:
    """Those that were there from the start, or come to where the others are, get their lines in the same batches."""
    job = submitted(api, "square", [], open=True)
    with ExitStack() as streams:
        crowd = [events_of(streams.enter_context(a_stream(api, job, include="results"))) for _ in range(8)]
        for viewer in crowd:
            assert next(viewer).name == "job"
        api.post(job["links"]["items"], json=[*range(2_000)], params={"offset": 0}).raise_for_status()
        api.post(job["links"]["seal"]).raise_for_status()
        seen = [[event for event in viewer if event.name in ("results", "end")] for viewer in crowd]

    assert lines_in(seen[0]) == lines(api, job)
    assert len(lines_in(seen[0])) == 2_000
    assert all(events == seen[0] for events in seen)


def test_last_event_id_wins_over_after(api: httpx.Client, mixed: Document) -> None:
    """A browser repeats its first address when it reconnects; what it has seen counts."""
    got = events(api, mixed, "38", include="results", after=3)

    assert lines_in(got) == lines(api, mixed, after=38)


@pytest.mark.parametrize("last_id", ["", "x", "-1", "1.5", "0x10", "+3", "3 4", "9" * 5000, "é", "\u0661"])
def test_an_id_that_cannot_be_read_counts_as_absent(api: httpx.Client, mixed: Document, last_id: str) -> None:
    """The stream starts where it would have without: from `after`, else from 0."""
    headers = [(b"Last-Event-ID", last_id.encode())]

    with api.stream(
        "GET", mixed["links"]["events"], params={"include": "results"}, headers=headers
    ) as response:
        assert lines_in(list(events_of(response))) == lines(api, mixed)


@pytest.mark.parametrize(
    ("view", "final"),
    [({}, "40"), ({"include": "results"}, "40"), ({"include": "failures"}, "10")],
    ids=["job", "results", "failures"],
)
def test_after_the_final_cursor_there_is_nothing(
    api: httpx.Client, mixed: Document, view: dict[str, str], final: str
) -> None:
    """A client that reconnects after `end` is answered 204, which has a browser stop."""
    assert events(api, mixed, **view)[-1].id == final

    with a_stream(api, mixed, final, **view) as response:
        assert response.status_code == 204
        assert response.read() == b""


def test_include_failures_sends_failures_only(api: httpx.Client, mixed: Document) -> None:
    """The lines, and the cursor, are those of the failed view."""
    got = events(api, mixed, include="failures")

    assert lines_in(got) == lines(api, mixed, status="failed")
    assert len(lines_in(got)) == 10
    assert got[-1].id == "10"


def test_an_empty_job_ends_at_once(api: httpx.Client) -> None:
    """Nothing to tell but the job and its end."""
    job = submitted(api, "sqrt", [])

    assert [event.name for event in events(api, job, include="results")] == ["job", "end"]


def test_a_library_for_such_streams_reads_it(api: httpx.Client) -> None:
    """httpx-sse sees the same events, ids and reconnection time."""
    with (
        a_live_job(api, "sleep_for", [0.1] * 6, chunksize=1) as job,
        httpx_sse.connect_sse(api, "GET", job["links"]["events"], params={"include": "results"}) as source,
    ):
        got = list(source.iter_sse())

    assert (got[0].event, got[-1].event) == ("job", "end")
    assert got[0].retry == 1000
    assert [event.retry for event in got[1:]] == [None] * (len(got) - 1)
    results = [result for event in got if event.event == "results" for result in event.json()["results"]]
    assert sorted(result["index"] for result in results) == [*range(6)]
    assert got[-1].id == "6"


def test_silence_is_broken_every_four_seconds(api: httpx.Client) -> None:
    """After 4 s an event stream says `: ping` and one newline, and a stream of lines a single space."""
    with (
        a_live_job(api, "sleep_for", [30]) as job,
        a_stream(api, job) as stream,
        api.stream("GET", job["links"]["results"], params={"follow": 1}) as following,
    ):
        pieces = stream.iter_raw()
        seen = b""
        while not seen.endswith(b"\n\n") or b'"status":"running"' not in seen:
            seen += next(pieces)
        started = time.monotonic()

        silent = next(pieces)
        while b"progress" in silent:
            started, silent = time.monotonic(), next(pieces)
        space = next(following.iter_raw())

    assert silent == b": ping\n"
    assert 3 < time.monotonic() - started < 6.5
    assert space == b" "


def test_a_deleted_job_has_no_events(api: httpx.Client) -> None:
    """A job that is gone is a problem, not a stream that a browser would retry for ever."""
    job = ended(api, submitted(api, "sqrt", [1])["id"])
    api.delete(job["links"]["self"])

    problem_of(api.get(job["links"]["events"], headers={"Last-Event-ID": "1"}), 404)


def ended_document(api: httpx.Client, job: Document) -> Document:
    document = api.get(job["links"]["self"]).json()
    assert isinstance(document, dict)
    return document
