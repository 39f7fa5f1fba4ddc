"""What is sent again is the same job: by its own id, or by its Idempotency-Key."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from bench.server import Server
from tests.integration.answers import (
    JSONL,
    a_picture,
    an_id,
    client,
    document_of,
    ended,
    problem_names,
    problem_of,
)
from tests.waiting import eventually


@pytest.mark.parametrize("form", ["json", "jsonl", "multipart"])
def test_a_put_is_the_same_job_as_often_as_it_is_sent(api: httpx.Client, form: str) -> None:
    """The same content again answers 200 with the same job; other content under its id is a conflict."""
    job_id = an_id()

    def put(width: int) -> httpx.Response:
        if form == "json":
            return api.put(f"/v1/jobs/{job_id}", json={"task": "echo", "items": [width]})
        if form == "jsonl":
            return api.put(f"/v1/jobs/{job_id}?task=echo", content=b"%d\n" % width)
        files = {"file": ("a.jpg", a_picture("red", width))}
        boundary = {"Content-Type": f"multipart/form-data; boundary={an_id('b')}"}
        return api.put(f"/v1/jobs/{job_id}?task=resize_image", files=files, headers=boundary)

    first, again, other = put(5), put(5), put(6)

    assert (first.status_code, again.status_code) == (202, 200)
    assert document_of(again)["id"] == document_of(first)["id"] == job_id
    assert document_of(again)["created_at"] == document_of(first)["created_at"]
    assert job_id in problem_of(other, 409)["detail"]
    assert ended(api, job_id)["counts"]["total"] == 1


def test_other_options_are_another_put(api: httpx.Client) -> None:
    """What a PUT says in its query is part of its content, in whatever order it is said."""
    job_id = an_id()
    api.put(f"/v1/jobs/{job_id}?task=sqrt&label=a", content=b"1").raise_for_status()

    reordered = api.put(f"/v1/jobs/{job_id}?label=a&task=sqrt", content=b"1")
    other = api.put(f"/v1/jobs/{job_id}?task=sqrt&label=b", content=b"1")

    assert reordered.status_code == 200
    problem_of(other, 409)


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("lines", [False, True])
def test_a_repeated_idempotency_key_is_the_same_job(api: httpx.Client, *, quoted: bool, lines: bool) -> None:
    """The same key and payload answer with the first job and say so; with another payload they are refused."""
    key = an_id("key")

    def post(number: int, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        if lines:
            return api.post("/v1/jobs?task=sqrt", content=b"%d\n" % number, headers=headers | JSONL)
        return api.post("/v1/jobs", json={"task": "sqrt", "items": [number]}, headers=headers)

    first, again, other = post(4, key), post(4, f'"{key}"' if quoted else key), post(5, key)

    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert document_of(again)["id"] == document_of(first)["id"]
    assert again.headers["location"] == first.headers["location"]
    assert "Idempotency-Key" in problem_of(other, 422)["detail"]


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "é", '"'])
def test_a_bad_idempotency_key_is_refused(api: httpx.Client, key: str) -> None:
    """A key is 1 to 255 printable ASCII characters, bare or quoted; nothing is submitted under another."""
    label = an_id()
    body = {"task": "sqrt", "items": [1], "label": label}

    response = api.post("/v1/jobs", json=body, headers=[(b"Idempotency-Key", key.encode())])

    assert problem_names(problem_of(response, 422)) == {"Idempotency-Key"}
    assert api.get("/v1/jobs", params={"q": label}).json()["jobs"] == []


def test_a_refused_submission_leaves_its_key_free(api: httpx.Client) -> None:
    """A 4xx is not stored under the Idempotency-Key: the mended request is a first one."""
    headers = {"Idempotency-Key": an_id("key")}
    problem_of(api.post("/v1/jobs", json={"task": "sqrtt", "items": [1]}, headers=headers), 422)

    response = api.post("/v1/jobs", json={"task": "sqrt", "items": [1]}, headers=headers)

    assert response.status_code == 202


@pytest.mark.parametrize("lines", [False, True])
def test_twenty_concurrent_puts_are_one_job(server: Server, lines: bool) -> None:
    """Of the same content under one id sent at once, one makes the job and all are told of it."""
    job_id = an_id()
    body = {"task": "slow_square", "items": [1, 2, 3], "params": {"seconds": 0.01}}

    def put(api: httpx.Client) -> httpx.Response:
        if lines:
            url = f"/v1/jobs/{job_id}?task=slow_square&param.seconds=0.01"
            return api.put(url, content=iter([b"1\n", b"2\n3", b"\n"]))
        return api.put(f"/v1/jobs/{job_id}", json=body)

    with client(server) as api, ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: put(api), range(20)))
        job = ended(api, job_id)

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert {document_of(answer)["id"] for answer in answers} == {job_id}
    assert len({document_of(answer)["created_at"] for answer in answers}) == 1
    assert job["counts"]["total"] == 3


def test_a_key_whose_upload_is_on_its_way_is_a_conflict(server: Server) -> None:
    """409 until that has come to its end; then the same payload is the same job."""
    url, headers = "/v1/jobs?task=echo", JSONL | {"Idempotency-Key": an_id("key")}
    begun, goes_on = Event(), Event()

    def body() -> Iterator[bytes]:
        yield b"1\n"
        begun.set()
        assert goes_on.wait(20)
        yield b"2\n"

    with client(server) as api, ThreadPoolExecutor(1) as thread:
        first = thread.submit(lambda: api.post(url, content=body(), headers=headers))
        assert begun.wait(20)
        # Too large, so that it is 413, and no job, if it comes before the service has seen the first one.
        large = b"1" * (9 << 20)

        def refused() -> httpx.Response | None:
            answer = api.post(url, content=large, headers=headers)
            return answer if answer.status_code == 409 else None

        during = eventually(refused, 9, "the upload is seen")
        goes_on.set()
        after = first.result()
        again = api.post(url, content=b"1\n2\n", headers=headers)

    problem_of(during, 409)
    assert after.status_code == 202
    assert document_of(again)["id"] == document_of(after)["id"]
