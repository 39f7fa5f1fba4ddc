"""Callers see and touch what is theirs, and nothing tells them of the rest."""

from collections import deque
from contextlib import suppress
from fcntl import ioctl
from termios import FIONREAD

import httpx
import pytest

from tests.integration.answers import (
    Document,
    a_picture,
    an_id,
    document_of,
    ended,
    lines_of,
    problem_of,
    put,
    ran,
    submitted,
)
from tests.integration.callers import Keyed, bearer
from tests.waiting import eventually


@pytest.fixture
def job(ann: httpx.Client) -> Document:
    """A finished job of ann's."""
    return ended(ann, submitted(ann, "echo", ["secret"], label="ann's label")["id"])


def alike(one: httpx.Response, other: httpx.Response, *names: str) -> bool:
    """Whether two answers are the same but for the names they were asked for."""
    texts = [response.text for response in (one, other)]
    for number, name in enumerate(names):
        texts[number] = texts[number].replace(name, "NAME")
    heads = [
        {key: value for key, value in response.headers.items() if key not in ("date", "content-length")}
        for response in (one, other)
    ]
    return one.status_code == other.status_code and texts[0] == texts[1] and heads[0] == heads[1]


def test_without_a_key_nobody_comes_in(keyed: Keyed) -> None:
    """401, which names the way in; a key that is none is told apart from none, and no key is told back."""
    with keyed.stranger() as api:
        missing = problem_of(answer := api.get("/v1/jobs"), 401)
        wrong = problem_of(api.get("/v1/jobs", headers=bearer("millpond_guess")), 401)

    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "Authorization: Bearer" in missing["detail"]
    assert missing["detail"] != wrong["detail"]
    assert "guess" not in str(wrong)


def test_a_job_says_who_submitted_it(job: Document, boss: httpx.Client) -> None:
    """By the name of the key's caller; an admin sees it."""
    assert job["submitted_by"] == "ann"
    assert document_of(boss.get(f"/v1/jobs/{job['id']}"))["submitted_by"] == "ann"


def test_another_keys_job_of_the_same_name_is_seen(keyed: Keyed, job: Document) -> None:
    """Keys may share a name: one submits, the other looks, and may not submit."""
    with keyed.client("ann-read") as reader:
        assert document_of(reader.get(f"/v1/jobs/{job['id']}"))["id"] == job["id"]
        problem_of(reader.post("/v1/jobs", json={"task": "sqrt", "items": []}), 403)


def test_anothers_job_is_as_if_it_never_was(job: Document, bob: httpx.Client) -> None:
    """Whatever is asked of it, the answer is the same as for an id that nobody ever used, byte for byte."""
    other = an_id("never")
    for method, path in (
        ("GET", ""), ("HEAD", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/results"), ("GET", "/events"),
        ("GET", "/results.jsonl"), ("GET", "/results.jsonl?follow=1"), ("GET", "/items/0"), ("GET", "/items/9"),
    ):  # fmt: skip
        theirs = bob.request(method, f"/v1/jobs/{job['id']}{path}")
        nobodys = bob.request(method, f"/v1/jobs/{other}{path}")

        assert theirs.status_code == 404, (method, path)
        assert alike(theirs, nobodys, job["id"], other), (method, path)


def test_a_list_has_no_place_for_others_jobs(
    ann: httpx.Client, bob: httpx.Client, boss: httpx.Client
) -> None:
    """Pages are as long as asked for however many jobs of others lie between; an admin's list has all."""
    mine = []
    for _ in range(5):
        submitted(bob, "echo", [1], label="of bob")
        mine.append(submitted(ann, "echo", [1], label="paging")["id"])

    first = document_of(ann.get("/v1/jobs", params={"limit": 2, "q": "paging"}))
    second = document_of(ann.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}))

    assert [job["id"] for job in first["jobs"] + second["jobs"]] == mine[:0:-1]
    assert {job["submitted_by"] for job in document_of(ann.get("/v1/jobs"))["jobs"]} == {"ann"}
    assert {job["submitted_by"] for job in document_of(boss.get("/v1/jobs"))["jobs"]} >= {"ann", "bob"}
    assert document_of(bob.get("/v1/jobs", params={"q": "paging"}))["jobs"] == []


def test_anothers_cursor_shows_nothing_of_the_others(
    ann: httpx.Client, bob: httpx.Client, boss: httpx.Client
) -> None:
    """It leads to one's own jobs, the older ones, as one of a job that never was does."""
    own = submitted(bob, "echo", [1], label="older")
    for _ in range(2):
        submitted(ann, "echo", [1])
    theirs = document_of(boss.get("/v1/jobs", params={"limit": 1}))["next_cursor"]

    nobodys = f"{theirs.partition('-')[0]}-{an_id('never')}"
    for cursor in (theirs, nobodys):
        page = document_of(bob.get("/v1/jobs", params={"cursor": cursor, "q": own["id"]}))
        assert [job["id"] for job in page["jobs"]] == [own["id"]]


def test_a_taken_id_tells_nothing_but_that(ann: httpx.Client, bob: httpx.Client) -> None:
    """409 for the same content as for another: whose it is, and what, stays unknown."""
    name = an_id()
    put_as = {"content": b"1\n2\n", "params": {"task": "square"}}
    ann.put(f"/v1/jobs/{name}", **put_as).raise_for_status()  # type: ignore[arg-type]

    same = problem_of(bob.put(f"/v1/jobs/{name}", **put_as), 409)  # type: ignore[arg-type]
    other = problem_of(bob.put(f"/v1/jobs/{name}", content=b"3\n", params={"task": "echo"}), 409)

    assert same == other
    assert "ann" not in str(same)
    assert document_of(ann.put(f"/v1/jobs/{name}", **put_as))["id"] == name  # type: ignore[arg-type]


def test_idempotency_keys_are_each_callers_own(ann: httpx.Client, bob: httpx.Client) -> None:
    """The same key of another caller makes another job."""
    body = {"task": "echo", "items": ["one"]}
    header = {"Idempotency-Key": an_id("key")}

    of_ann = ann.post("/v1/jobs", json=body, headers=header)
    of_bob = bob.post("/v1/jobs", json=body, headers=header)
    again = bob.post("/v1/jobs", json=body, headers=header)

    assert document_of(of_bob)["id"] != document_of(of_ann)["id"]
    assert "idempotent-replayed" not in of_bob.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert document_of(again)["id"] == document_of(of_bob)["id"]


def stalled(response: httpx.Response) -> None:
    """Return once the service can send no more of this, since nobody reads it: it is in the middle of it."""
    connection = response.extensions["network_stream"].get_extra_info("socket")
    unread: deque[bytes] = deque(maxlen=20)

    def full() -> bool:
        unread.append(ioctl(connection, FIONREAD, bytes(4)))
        return len(unread) == unread.maxlen and len(set(unread)) == 1

    eventually(full, 20, "a stream that stands still")


@pytest.mark.parametrize("what", ["results.jsonl", "inputs.jsonl"])
def test_a_reader_of_a_job_does_not_get_the_next_one_of_its_id(
    keyed: Keyed, ann: httpx.Client, bob: httpx.Client, what: str
) -> None:
    """A slow reader, whose job was deleted and whose id another caller took, gets nothing of that."""
    name = an_id()
    big = "x" * 100_000
    put(ann, "task=echo")  # the worker is warm
    ann.put(f"/v1/jobs/{name}?task=echo", content=f'"{big}"\n' * 400).raise_for_status()
    ended(ann, name)

    with ann.stream("GET", f"/v1/jobs/{name}/{what}") as response:
        pieces = response.iter_raw(1024)
        got = next(pieces)
        stalled(response)
        with keyed.client("ann") as other:
            other.delete(f"/v1/jobs/{name}").raise_for_status()
        bob.put(f"/v1/jobs/{name}?task=echo", content=b'"of bob"\n' * 10_000).raise_for_status()
        ended(bob, name)
        with suppress(httpx.RemoteProtocolError):  # the body ends before it is whole
            for piece in pieces:
                got += piece

    assert b"of bob" not in got

    assert len(lines_of(bob.get(f"/v1/jobs/{name}/results.jsonl").content)) == 10_000


def test_a_file_is_there_for_who_uploaded_it(
    ann: httpx.Client, bob: httpx.Client, boss: httpx.Client
) -> None:
    """For another it is as if it never was, until it uploads the same bytes; then each has its own name for it."""
    file = document_of(ann.post("/v1/files", params={"name": "plans.txt"}, content=b"the plans"))["file"]
    never = f"sha256-{'0' * 64}"

    for method in ("GET", "HEAD", "DELETE"):
        theirs, nobodys = (bob.request(method, f"/v1/files/{name}") for name in (file, never))
        assert theirs.status_code == 404
        assert alike(theirs, nobodys, file, never)
    known = bob.get(f"/v1/files/{file}", headers={"If-None-Match": "*", "Range": "bytes=0-1"})
    assert known.status_code == 404
    assert boss.get(f"/v1/files/{file}").content == b"the plans"

    bob.post("/v1/files", params={"name": "guess.txt"}, content=b"the plans").raise_for_status()
    answer = bob.get(f"/v1/files/{file}")
    assert answer.content == b"the plans"
    assert "plans.txt" not in answer.headers["content-disposition"]
    assert bob.delete(f"/v1/files/{file}").status_code == 204
    assert bob.get(f"/v1/files/{file}").status_code == 404
    assert ann.get(f"/v1/files/{file}").content == b"the plans"


def test_a_job_takes_no_files_but_its_callers(ann: httpx.Client, bob: httpx.Client) -> None:
    """Another's and nobody's are refused alike, however the id is written; what a job gave may be given on."""
    picture = document_of(ann.post("/v1/files", content=a_picture("teal")))["file"]
    escaped = picture.replace("sha", r"\u0073\u0068a")
    answers = []
    for name in (picture, f"sha256-{'0' * 64}", escaped):
        answers.append(put(bob, "task=resize_image", f'{{"image":"{name}"}}'))
        answers.append(put(bob, "task=resize_image", f'{{"image":{{"file":"{name}"}}}}'))
        whole = f'{{"task":"resize_image","items":[{{}}],"params":{{"image":"{name}"}}}}'
        answers.append(bob.post("/v1/jobs", content=whole, headers={"Content-Type": "application/json"}))

    assert {answer.status_code for answer in answers} == {422}
    assert len({problem_of(answer, 422)["detail"] for answer in answers}) == 1
    assert document_of(bob.get("/v1/jobs", params={"task": "resize_image"}))["jobs"] == []
    made = ran(ann, "resize_image", [picture])[0]["output"]["file"]
    assert bob.get(f"/v1/files/{made}").status_code == 404
    assert [api.delete(f"/v1/files/{made}").status_code for api in (bob, ann)] == [404, 409]
    assert ann.get(f"/v1/files/{made}").status_code == 200
    assert ran(ann, "resize_image", [made], params={"width": 10})


def test_to_name_a_file_is_not_to_have_it(ann: httpx.Client, bob: httpx.Client) -> None:
    """A task that takes no files hands the name back, and the file stays another's."""
    file = document_of(ann.post("/v1/files", content=b"to be named"))["file"]

    assert ran(bob, "echo", [file, {"file": file}])[0]["output"] == file

    assert bob.get(f"/v1/files/{file}").status_code == 404


def test_the_pool_shows_each_caller_its_own_work(
    ann: httpx.Client, bob: httpx.Client, boss: httpx.Client
) -> None:
    """What another's items are doing is not told, only that a worker is busy."""
    job = submitted(ann, "sleep_for", [60])
    eventually(lambda: document_of(ann.get(f"/v1/jobs/{job['id']}"))["status"] == "running", 20, "it runs")

    def tasks(api: httpx.Client) -> set[str | None]:
        pools = document_of(api.get("/v1/pool"))["pools"].values()
        return {worker["task"] for pool in pools for worker in pool["workers"]}

    assert tasks(ann) == tasks(boss) == {"sleep_for", None}
    assert tasks(bob) == {None}
    ann.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    ended(ann, job["id"])
