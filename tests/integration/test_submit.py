"""A submission, in whichever form it comes, is one job: whole, once, or not at all."""

import gzip
import io
import socket
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from PIL import Image

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import (
    JSONL,
    WAIT,
    Document,
    a_picture,
    an_id,
    client,
    document_of,
    ended,
    lines_of,
    problem_of,
    sent,
    submitted,
)

DEADLINE_SECONDS = 10.0


def outputs(job: Document) -> list[object]:
    """What came out of a finished job that carries its results."""
    assert job["status"] == "completed", job
    return [result["output"] for result in job["results"]]


def test_a_json_body_becomes_a_job_that_says_what_was_asked(api: httpx.Client) -> None:
    """The Job names its task, options, params, label and metadata, and where everything of it is."""
    body = {
        "task": "slow_square",
        "items": [3],
        "params": {"seconds": 0},
        "chunksize": 5,
        "priority": "high",
        "max_attempts": 3,
        "item_timeout_seconds": 60,
        "job_timeout_seconds": 3600,
        "max_failures": "3%",
        "max_in_flight": None,
        "retention_seconds": 60,
        "failure_retention_seconds": 120,
        "key_field": None,
        "label": "nightly ☾",
        "metadata": {"run": "nightly"},
    }

    response = api.post("/v1/jobs", json=body)

    assert response.status_code == 202
    job = document_of(response)
    assert response.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert job["links"] == {
        "self": f"/v1/jobs/{job['id']}",
        "results": f"/v1/jobs/{job['id']}/results.jsonl",
        "failures": f"/v1/jobs/{job['id']}/results.jsonl?status=failed",
        "events": f"/v1/jobs/{job['id']}/events",
        **{name: f"/v1/jobs/{job['id']}/{name}" for name in ("cancel", "pause", "resume", "retry")},
        "inputs": f"/v1/jobs/{job['id']}/inputs.jsonl",
    }
    said = ("task", "items", "params", "label", "metadata")
    assert job["options"] == {name: value for name, value in body.items() if name not in said}
    assert {name: job[name] for name in ("task", "params", "label", "metadata")} == {
        name: body[name] for name in ("task", "params", "label", "metadata")
    }
    assert job["counts"]["total"] == 1
    assert job["sealed"] is True
    assert job["results"] is job["error"] is None


def test_the_order_of_json_members_does_not_matter(api: httpx.Client) -> None:
    """`items` may come before `task`, with any white space, and an item may span lines."""
    body = '\n{ "items" : [ {"a":\n1} ,\t[2,\r\n3] ],\n "task" : "echo" }\n'

    response = api.post("/v1/jobs", content=body, headers=WAIT | {"Content-Type": "application/json"})

    assert outputs(document_of(response)) == [{"a": 1}, [2, 3]]


@pytest.mark.parametrize(
    ("body", "items"),
    [
        pytest.param(b"1\n4\n9\n", [1, 4, 9], id="each line ended"),
        pytest.param(b"1\n4\n9", [1, 4, 9], id="no final newline"),
        pytest.param(b"1\r\n4\r\n9\r\n", [1, 4, 9], id="CRLF"),
        pytest.param(b"\n\n1\n \t\n4\n\r\n9\n\n", [1, 4, 9], id="blank lines"),
        pytest.param(b"\xef\xbb\xbf1\n4\n9\n", [1, 4, 9], id="byte order mark"),
        pytest.param(b' {"a": 1} \n["b\\n"]\n', [{"a": 1}, ["b\n"]], id="spaces and escapes"),
        pytest.param(
            '"\u2028\x85\x0b"\n'.encode().replace(b"\x0b", b"\\u000b"), ["\u2028\x85\x0b"], id="NEL"
        ),
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n \r\n", [], id="only blank lines"),
    ],
)
def test_each_line_of_a_jsonl_body_that_is_not_blank_is_an_item(
    api: httpx.Client, body: bytes, items: list[object]
) -> None:
    """Line ends, blank lines, a byte order mark and a missing last newline change nothing."""
    response = api.post("/v1/jobs?task=echo", content=body, headers=JSONL | WAIT)

    assert response.status_code == 200
    assert outputs(document_of(response)) == items


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson; charset=utf-8", None])
def test_a_put_of_lines_needs_no_content_type(api: httpx.Client, media_type: str | None) -> None:
    """What `curl -T` sends is JSON lines; saying so is welcome."""
    headers = WAIT | ({"Content-Type": media_type} if media_type else {})

    response = api.put(f"/v1/jobs/{an_id()}?task=sqrt", content=b"1\n4\n", headers=headers)

    assert outputs(document_of(response)) == [1.0, 2.0]


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(b"1\n4\n9"), id="one member"),
        pytest.param(gzip.compress(b"1\n4") + gzip.compress(b"\n9\n"), id="two members"),
    ],
)
def test_a_gzip_body_is_unpacked(api: httpx.Client, packed: bytes) -> None:
    """`Content-Encoding: gzip` is undone on the way in, as is that of concatenated files."""
    headers = JSONL | WAIT | {"Content-Encoding": "gzip"}

    response = api.post("/v1/jobs?task=sqrt", content=packed, headers=headers)

    assert outputs(document_of(response)) == [1.0, 2.0, 3.0]


def test_a_chunked_upload_of_many_blocks_keeps_every_item_in_its_place(api: httpx.Client) -> None:
    """Three megabytes in pieces that end anywhere are a hundred thousand items, in their order."""
    body = b"".join(b'{"n":%d,"pad":"%b"}\n' % (n, b"x" * (n % 23)) for n in range(100_000))
    pieces = (body[start : start + 65_521] for start in range(0, len(body), 65_521))
    job_id = an_id()

    api.put(f"/v1/jobs/{job_id}?task=echo", content=pieces).raise_for_status()

    job = ended(api, job_id)
    assert job["counts"]["succeeded"] == 100_000
    lines = lines_of(api.get(f"/v1/jobs/{job_id}/results.jsonl?order=index").content)
    assert [line["output"]["n"] for line in lines] == list(range(100_000))


def test_a_chunk_for_each_line_keeps_every_item_in_its_place(server: Server, api: httpx.Client) -> None:
    """Tens of thousands of them are read at once, in pieces that end anywhere."""
    lines = [b"%d\n" % number for number in range(100_000)]
    head = (
        "POST /v1/jobs?task=echo&follow=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jsonl\r\n"
    )
    head += "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)

    answer = sent(server, head.encode() + chunks + b"0\r\n\r\n")

    location = answer.headers["location"]
    assert api.get(f"{location}/inputs.jsonl").content == b"".join(lines)


def test_trailers_after_a_chunked_body_change_nothing(server: Server, api: httpx.Client) -> None:
    """A client may say more after the body (RFC 9110, 6.5); it is dropped."""
    job_id = an_id()
    head = f"PUT /v1/jobs/{job_id}?task=sqrt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"

    response = sent(server, head.encode() + b"2\r\n4\n\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n")

    assert response.status_code == 202
    assert ended(api, job_id)["counts"]["succeeded"] == 1


def test_options_of_a_query_string_have_their_types(api: httpx.Client) -> None:
    """Numbers, shares, JSON and single parameters are read from text; text parameters stay text."""
    query = {
        "task": "slow_square",
        "params": '{"x":5}',
        "param.seconds": "0",
        "max_attempts": "3",
        "max_failures": "7",
        "chunksize": "2",
        "item_timeout_seconds": "1.5",
        "metadata": '{"a":[1]}',
        "label": "é & co",
    }

    job = document_of(api.put(f"/v1/jobs/{an_id()}", params=query, content=b"{}"))

    assert job["params"] == {"x": 5, "seconds": 0}
    assert job["metadata"] == {"a": [1]}
    assert job["label"] == "é & co"
    options = job["options"]
    assert (options["max_attempts"], options["max_failures"], options["chunksize"]) == (3, 7, 2)
    assert options["item_timeout_seconds"] == 1.5
    assert ended(api, job["id"])["counts"]["succeeded"] == 1


def test_each_file_of_a_form_becomes_an_item(api: httpx.Client) -> None:
    """Files are items in the order they came, whatever their fields are called; other fields are options."""
    files = [
        ("file", ("a.jpg", a_picture("red"), "image/jpeg")),
        ("photo", ("dir/b.jpg", a_picture("blue"), "image/jpeg")),
    ]
    fields = {"param.width": "32", "label": "two", "metadata": '{"n":2}'}

    response = api.post("/v1/jobs?task=resize_image", files=files, data=fields, headers=WAIT)

    job = document_of(response)
    made = outputs(job)
    assert [file["name"] for file in made if isinstance(file, dict)] == ["a.jpg", "b.jpg"]
    assert (job["label"], job["metadata"], job["params"]) == ("two", {"n": 2}, {"width": 32})
    assert isinstance(made[0], dict)
    with Image.open(io.BytesIO(api.get(f"/v1/files/{made[0]['file']}").content)) as picture:
        assert picture.width == 32


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 1000000"])
def test_a_broken_upload_leaves_nothing_behind(server: Server, api: httpx.Client, framing: str) -> None:
    """A body cut in the middle makes no job and keeps no item; whoever sends all of it meanwhile has the id."""
    cut_id, job_id = an_id(), an_id()
    connections = [a_begun_upload(server, f"/v1/jobs/{each}?task=sqrt", framing) for each in (cut_id, job_id)]
    problem_of(api.get(f"/v1/jobs/{cut_id}"), 404)
    assert put(api, job_id).status_code == 202

    for connection in connections:
        connection.close()

    until(lambda: rows_left_of_uploads(server.data) == 0)
    problem_of(api.get(f"/v1/jobs/{cut_id}"), 404)
    assert ended(api, job_id)["counts"]["total"] == 2


def test_an_empty_job_is_finished_at_once(api: httpx.Client) -> None:
    """No items are all done: completed, total 0, no results, and nothing to wait for."""
    response = api.post("/v1/jobs", json={"task": "sqrt", "items": []})

    assert response.status_code == 200
    job = document_of(response)
    assert (job["status"], job["counts"]["total"], job["progress"]) == ("completed", 0, 1.0)
    assert job["ended_at"] is not None
    assert api.get(job["links"]["results"]).content == b""
    page = api.get(f"/v1/jobs/{job['id']}/results").json()
    assert page == {"results": [], "after": 0, "next_after": 0, "complete": True}


def test_prefer_wait_answers_with_the_results_in_input_order(api: httpx.Client) -> None:
    """A job that ends in time is answered 200, with its results, ordered by index whatever ended first."""
    items = [0.4, 0, 0.2, 0]

    body = {"task": "sleep_for", "items": items, "chunksize": 1}
    response = api.post("/v1/jobs", json=body, headers=WAIT)

    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=30"
    assert outputs(document_of(response)) == items


def test_prefer_wait_answers_202_when_it_takes_longer(api: httpx.Client) -> None:
    """After the time the answer is the unfinished job, without results."""
    started = time.monotonic()

    body = {"task": "sleep_for", "items": [1.4]}
    response = api.post("/v1/jobs", json=body, headers={"Prefer": "wait=1"})

    assert response.status_code == 202
    assert 0.9 < time.monotonic() - started < 5
    job = document_of(response)
    assert job["status"] == "running"
    assert job["results"] is None
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert ended(api, job["id"])["status"] == "completed"


def test_more_than_a_thousand_results_are_not_in_the_answer(api: httpx.Client) -> None:
    """A large job that ends in time is answered 200, and its results are where `links` says."""
    body = {"task": "echo", "items": [0] * 1001}

    response = api.post("/v1/jobs", json=body, headers=WAIT)

    job = document_of(response)
    assert response.status_code == 200
    assert job["results"] is None
    assert len(lines_of(api.get(job["links"]["results"]).content)) == 1001


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_follow_answers_with_the_results_themselves(api: httpx.Client, form: str) -> None:
    """`follow=1` streams each result as it comes, to the end, and names the job."""
    if form == "json":
        request = api.build_request("POST", "/v1/jobs?follow=1", json={"task": "echo", "items": [*range(50)]})
    else:
        lines = b"".join(b"%d\n" % n for n in range(50))
        request = api.build_request("PUT", f"/v1/jobs/{an_id()}?task=echo&follow=1", content=lines)

    response = api.send(request)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/jsonl"
    assert sorted(line["output"] for line in lines_of(response.content)) == [*range(50)]
    assert api.get(response.headers["location"]).json()["status"] == "completed"


def test_who_stops_following_cancels_nothing(api: httpx.Client) -> None:
    """The job outlives the connection that submitted it."""
    body = {"task": "sleep_for", "items": [0, 0.5, 0.5]}
    with api.stream("POST", "/v1/jobs?follow=1", json=body) as response:
        next(response.iter_bytes())

    job = ended(api, response.headers["location"].rpartition("/")[2])

    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 3)


def test_two_hundred_concurrent_submissions_all_complete(server: Server) -> None:
    """Small jobs sent at once by many are each its own, and each right."""

    def submit(number: int) -> bool:
        body = {"task": "square", "items": [number, number + 1]}
        job = document_of(api.post("/v1/jobs", json=body, headers=WAIT).raise_for_status())
        return outputs(job) == [number**2, (number + 1) ** 2]

    with client(server) as api, ThreadPoolExecutor(50) as threads:
        right = list(threads.map(submit, range(200)))

    assert right == [True] * 200


def test_a_full_service_says_when_to_come_back(tmp_path: Path) -> None:
    """Over the limit of jobs a submission is answered 503 with Retry-After, and taken once there is room."""
    with serving(tmp_path, max_jobs="1") as server, client(server) as api:
        job = submitted(api, "sleep_for", [1])

        refused = api.post("/v1/jobs", json={"task": "sqrt", "items": [1]})

        problem_of(refused, 503)
        assert int(refused.headers["retry-after"]) > 0
        ended(api, job["id"])
        assert api.post("/v1/jobs", json={"task": "sqrt", "items": [1]}).status_code == 202


def a_begun_upload(server: Server, path: str, framing: str) -> socket.socket:
    """A connection on which half a body has been sent, and the service is reading it."""
    address = httpx.URL(server.url)
    assert address.port is not None
    connection = socket.create_connection((address.host, address.port), timeout=DEADLINE_SECONDS)
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    half = b"".join(b"%d\n" % number for number in range(100_000))
    connection.sendall(b"%x\r\n%b\r\n" % (len(half), half) if "chunked" in framing else half)
    return connection


def put(api: httpx.Client, job_id: str) -> httpx.Response:
    return api.put(f"/v1/jobs/{job_id}?task=sqrt", content=b"1\n4\n")


def until(holds: Callable[[], bool]) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline


def rows_left_of_uploads(folder: Path) -> int:
    """How much is on disk of uploads that are no job, and is not to be swept away either."""
    with closing(sqlite3.connect(f"file:{folder}/millpond.sqlite?mode=ro", uri=True)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM owners WHERE NOT dead AND id NOT IN (SELECT owner FROM jobs)"
        ).fetchone()
    return int(count)
