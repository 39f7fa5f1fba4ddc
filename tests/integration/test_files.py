"""A file is its bytes: stored once, served whole or in part, and only ever offered as what it is."""

import gzip
import hashlib
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bench.server import ROOT, Server
from tests.integration.answers import (
    Document,
    a_picture,
    an_id,
    client,
    document_of,
    ended,
    lines_of,
    problem_names,
    problem_of,
    ran,
    submitted,
)

STALLED = 50
"""anyio has 40 threads (`to_thread.current_default_thread_limiter`)."""


@pytest.fixture(scope="module")
def thousand(server: Server) -> str:
    """The path of a stored file of a thousand bytes, `0123456789` over and over."""
    with client(server) as api:
        response = api.post("/v1/files?name=digits.txt", content=b"0123456789" * 100)
        return str(document_of(response)["links"]["self"])


def test_the_documented_answer_is_the_real_one(api: httpx.Client) -> None:
    """To the letter, but for where its lines are broken."""
    answer = api.post("/v1/files?name=a.txt", content=b"hello\n")

    assert answer.text in (ROOT / "docs/api.md").read_text().replace(",\n ", ",")


def test_a_web_form_is_no_file(server: Server, tmp_path: Path) -> None:
    """What curl sends with -d is told how it is meant; what it sends with -T is the file."""
    path = tmp_path / "a=b.txt"
    path.write_bytes(b"a=b\n")

    def curl(*given: str) -> Document:
        told = subprocess.run(
            ["curl", "-s", *given, f"{server.url}/v1/files"], capture_output=True, timeout=60, check=True
        )
        return document_of(httpx.Response(200, content=told.stdout))

    refused = [curl("-d", "a=b"), curl("--data-binary", f"@{path}")]
    stored = curl("-T", str(path), "-X", "POST")

    assert [(problem["status"], problem["type"]) for problem in refused] == [
        (415, "/problems/unsupported-media-type")
    ] * 2
    assert all("-T FILE" in problem["detail"] for problem in refused)
    assert stored["size_bytes"] == 4


def test_a_file_is_named_by_its_bytes(api: httpx.Client) -> None:
    """The answer says the SHA-256, the size, the name and the type, and where the file is."""
    data = an_id().encode()

    response = api.post("/v1/files?name=dir/a.txt", content=data, headers={"Content-Type": "text/plain"})

    file_id = f"sha256-{hashlib.sha256(data).hexdigest()}"
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/files/{file_id}"
    assert document_of(response) == {
        "file": file_id,
        "name": "a.txt",
        "size_bytes": len(data),
        "media_type": "text/plain",
        "links": {"self": f"/v1/files/{file_id}"},
    }
    got = api.get(f"/v1/files/{file_id}")
    assert got.content == data
    assert got.headers["content-type"].startswith("text/plain")
    assert got.headers["etag"] == f'"{file_id}"'
    assert "immutable" in got.headers["cache-control"]


def test_however_it_is_sent_it_is_the_same_file(api: httpx.Client) -> None:
    """Raw, as a form, in chunks or packed: the same bytes are one file."""
    data = a_picture("green")
    packed = {"Content-Encoding": "gzip"}

    answers = [
        api.post("/v1/files", content=data),
        api.post("/v1/files", files={"file": ("a.jpg", data, "image/jpeg")}),
        api.post("/v1/files", content=iter([data[:100], data[100:]])),
        api.post("/v1/files", content=gzip.compress(data), headers=packed),
    ]

    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["file"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("asked", "content", "said"),
    [
        ("bytes=0-9", b"0123456789", "bytes 0-9/1000"),
        ("bytes=995-", b"56789", "bytes 995-999/1000"),
        ("bytes=995-5000", b"56789", "bytes 995-999/1000"),
        ("bytes=-3", b"789", "bytes 997-999/1000"),
        ("Bytes=1-1", b"1", "bytes 1-1/1000"),
    ],
)
def test_a_part_of_a_file_can_be_asked_for(
    api: httpx.Client, thousand: str, asked: str, content: bytes, said: str
) -> None:
    """`Range` is answered 206 with those bytes, saying which of how many they are."""
    response = api.get(thousand, headers={"Range": asked})

    assert (response.status_code, response.content) == (206, content)
    assert response.headers["content-range"] == said
    assert response.headers["content-length"] == str(len(content))


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=1000-",
        "bytes=9-5",
        "bytes=-0",
        "bytes=",
        "bytes=-",
        "bytes=x-y",
        f"bytes={'9' * 5000}-",
        "bytes=--1",
    ],
)
def test_a_part_that_is_not_there_is_a_problem(api: httpx.Client, thousand: str, asked: str) -> None:
    """A range without bytes of the file is 416, and tells the file's size."""
    response = api.get(thousand, headers={"Range": asked})

    assert "1000 bytes" in problem_of(response, 416)["detail"]
    assert response.headers["content-range"] == "bytes */1000"


@pytest.mark.parametrize("headers", [{"Range": "lines=1-2"}, {"Range": "bytes=0-1", "If-Range": '"other"'}])
def test_a_range_that_is_not_for_these_bytes_is_ignored(
    api: httpx.Client, thousand: str, headers: dict[str, str]
) -> None:
    """Another unit, or another version than the client has, means the whole file."""
    response = api.get(thousand, headers=headers)

    assert (response.status_code, len(response.content)) == (200, 1000)


@pytest.mark.parametrize("form", ["{0}", "W/{0}", '"x", {0}', "*"])
def test_a_file_that_the_client_has_is_not_sent_again(api: httpx.Client, thousand: str, form: str) -> None:
    """A matching `If-None-Match` is answered 304."""
    etag = api.get(thousand).headers["etag"]

    response = api.get(thousand, headers={"If-None-Match": form.format(etag)})

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize(
    ("media_type", "disposition"),
    [
        ("image/png", "inline"),
        ("text/html", "attachment"),
        ("Text/HTML; charset=utf-8", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/xhtml+xml", "attachment"),
    ],
)
def test_what_a_browser_might_run_is_only_a_download(
    api: httpx.Client, media_type: str, disposition: str
) -> None:
    """Active types are attachments, and all are sandboxed and not sniffed."""
    stored = api.post("/v1/files", content=an_id().encode(), headers={"Content-Type": media_type})

    response = api.get(document_of(stored)["links"]["self"])

    assert response.headers["content-disposition"].startswith(disposition)
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_name_brings_no_folders_and_no_control_characters(api: httpx.Client) -> None:
    """Whatever a name holds, the header it ends up in stays one header."""
    name = '..\\../x\r\nSet-Cookie: a=b\0é"'

    stored = api.post("/v1/files", params={"name": name}, content=an_id().encode())

    assert document_of(stored)["name"] == 'xSet-Cookie: a=bé"'
    response = api.get(document_of(stored)["links"]["self"])
    assert response.status_code == 200
    assert "set-cookie" not in response.headers


def test_a_file_can_be_an_item(api: httpx.Client) -> None:
    """Its id as a string, or as a reference with a name, is what a task that takes a file gets."""
    table = b"k,v\na,1\na,3\nb,5\n"
    file_id = document_of(api.post("/v1/files", content=table))["file"]
    by = {"by": "k", "value": "v"}

    results = ran(
        api, "aggregate_csv", [{"table": file_id}, {"table": {"file": file_id, "name": "t.csv"}}], params=by
    )

    assert results[0]["output"]["a"]["sum"] == 4.0
    assert results[0]["output"] == results[1]["output"]


def test_a_file_that_is_not_here_is_an_invalid_item(api: httpx.Client) -> None:
    """The item that names it says what to do; a text that is no id is told what one looks like."""
    results = ran(api, "resize_image", [f"sha256-{'0' * 64}", "../../etc/passwd"])

    assert [result["error"]["kind"] for result in results] == ["invalid_input"] * 2
    assert "/v1/files" in results[0]["error"]["message"]


def test_a_file_made_by_a_task_can_be_fetched(api: httpx.Client) -> None:
    """A result names it; it is served with the type of its bytes."""
    files = {"file": ("a.jpg", a_picture("red"))}
    answer = api.post("/v1/jobs?task=resize_image&follow=1", files=files)
    (result,) = lines_of(answer.content)

    response = api.get(f"/v1/files/{result['output']['file']}")

    assert response.headers["content-type"] == "image/jpeg"
    assert response.content.startswith(b"\xff\xd8\xff")


def test_a_forgotten_file_is_gone(api: httpx.Client) -> None:
    """DELETE answers 204 once; after that there is no such file."""
    path = document_of(api.post("/v1/files", content=an_id().encode()))["links"]["self"]

    first, second = api.delete(path), api.delete(path)

    assert first.status_code == 204
    problem_of(second, 404)
    problem_of(api.get(path), 404)


@pytest.mark.parametrize("file_id", ["x", "sha256-", f"sha256-{'A' * 64}", f"sha256-{'0' * 63}%00"])
def test_what_is_no_file_id_is_told_so(api: httpx.Client, file_id: str) -> None:
    """Nothing but `sha256-` and 64 hex digits leads to a file."""
    response = api.get(f"/v1/files/{file_id}")

    assert problem_names(problem_of(response, 422)) == {"file_id"}


@pytest.mark.parametrize("count", [0, 2])
def test_a_form_to_files_has_one_file(api: httpx.Client, count: int) -> None:
    """Of none or several it is not clear which is meant; the answer names the way for many."""
    part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    response = api.post("/v1/files", content=part * count + "--b--\r\n", headers=headers)

    assert "POST /v1/jobs" in problem_of(response, 422)["detail"]


def test_a_file_named_by_a_result_is_kept(api: httpx.Client) -> None:
    """A file that a job's result names cannot be deleted while the job is there."""
    file_id = document_of(api.post("/v1/files", content=a_picture("white", 16)))["file"]
    (result,) = lines_of(
        api.post(
            "/v1/jobs?follow=1", json={"task": "resize_image", "items": [{"image": file_id, "width": 8}]}
        ).content
    )
    made = result["output"]["file"]
    api.post("/v1/files", content=api.get(f"/v1/files/{made}").content)

    response = api.delete(f"/v1/files/{made}")

    problem_of(response, 409)
    assert api.get(f"/v1/files/{made}").status_code == 200


def test_a_file_that_a_task_made_goes_after_its_job(api: httpx.Client) -> None:
    """It is there, so it is not 404 to delete it: its job is in the way, and is named."""
    picture = document_of(api.post("/v1/files", content=a_picture("black", 16)))["file"]
    job = ended(api, submitted(api, "resize_image", [{"image": picture, "width": 7}])["id"])
    (result,) = lines_of(api.get(job["links"]["results"]).content)
    made = f"/v1/files/{result['output']['file']}"

    problem = problem_of(api.delete(made), 409)
    api.delete(job["links"]["self"]).raise_for_status()

    assert job["id"] in problem["detail"]
    assert api.delete(made).status_code == 204
    problem_of(api.delete(made), 404)


def test_readers_that_stall_keep_nobody_waiting(server: Server, api: httpx.Client) -> None:
    """More of them than the service has threads."""
    large = document_of(api.post("/v1/files", content=bytes(8 << 20)))["links"]["self"]
    small = document_of(api.post("/v1/files", content=b"small"))["links"]["self"]
    address = httpx.URL(server.url)
    with ExitStack() as stack:
        for _ in range(STALLED):
            connection = stack.enter_context(socket.create_connection((address.host, address.port)))
            connection.sendall(f"GET {large} HTTP/1.1\r\nHost: {address.host}\r\n\r\n".encode())
            assert connection.recv(9) == b"HTTP/1.1 ", "its answer has begun"

        assert api.get(small).content == b"small"
