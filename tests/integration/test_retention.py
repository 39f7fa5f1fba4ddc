"""What is over goes, and nothing else; what has gone says so for a while."""

import os
import time
from collections.abc import Iterator

import httpx
import pytest

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import (
    JSONL,
    Document,
    an_id,
    client,
    document_of,
    ended,
    lines_of,
    problem_of,
    ran,
    submitted,
)
from tests.waiting import eventually

SHORT = 0.05
"""Seconds that a job is kept where a test waits for its end."""
SECONDS_MAX = 10


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that looks for what has expired all the time."""
    with serving(tmp_path_factory.mktemp("data"), prune_seconds="0.02") as server:
        yield server


@pytest.fixture
def api(pruned: Server) -> Iterator[httpx.Client]:
    with client(pruned) as api:
        yield api


def gone(api: httpx.Client, url: str) -> Document:
    """The problem at this address, once there is one."""

    def look() -> httpx.Response | None:
        try:
            answer = api.get(url)
        except httpx.RemoteProtocolError:
            return None  # it expired under the stream, which was cut off
        return answer if answer.is_error else None

    return problem_of(eventually(look, SECONDS_MAX, f"{url} is gone"), 410)


def aged(server: Server, file_id: str, seconds: float = 10 * 86400) -> None:
    """Have the file look as if it had been written that long ago."""
    path = server.data / "files" / file_id[7:9] / file_id
    os.utime(path, (time.time() - seconds,) * 2)


def gone_by_name(api: httpx.Client, file_id: str) -> None:
    """Wait until nobody is given the file any more."""
    eventually(lambda: api.get(f"/v1/files/{file_id}").status_code == 404, SECONDS_MAX, "the file goes")


def uploaded(api: httpx.Client, content: bytes) -> str:
    file_id = document_of(api.post("/v1/files", content=content).raise_for_status())["file"]
    assert isinstance(file_id, str)
    return file_id


@pytest.mark.parametrize("path", ["", "/results", "/results.jsonl", "/events", "/items/0"])
def test_an_expired_job_is_gone_with_all_that_was_its(api: httpx.Client, path: str) -> None:
    """410 at each of its addresses, saying why; its place in lists is empty."""
    job_id = submitted(api, "echo", [1, 2], retention_seconds=SHORT)["id"]

    problem = gone(api, f"/v1/jobs/{job_id}{path}")

    assert problem["type"] == "/problems/gone"
    assert "retention_seconds" in problem["detail"]
    assert api.get("/v1/jobs", params={"q": job_id}).json()["jobs"] == []


def test_an_empty_job_expires_too(api: httpx.Client) -> None:
    """It is finished from its beginning."""
    job = submitted(api, "echo", [], retention_seconds=SHORT)

    assert job["expires_at"] is not None
    gone(api, job["links"]["self"])


def test_a_job_is_kept_for_as_long_as_it_asked(api: httpx.Client) -> None:
    """What expires before it takes nothing of it."""
    job_id = submitted(api, "echo", [1, 2, 3], retention_seconds=3600)["id"]
    ended(api, job_id)
    kept = document_of(api.get(f"/v1/jobs/{job_id}"))
    gone(api, submitted(api, "echo", [1], retention_seconds=SHORT)["links"]["self"])

    assert document_of(api.get(kept["links"]["self"])) == kept
    assert len(lines_of(api.get(kept["links"]["results"]).content)) == 3


@pytest.mark.parametrize(("item", "kept"), [(5, True), (4, False)])
def test_failures_can_be_kept_longer(api: httpx.Client, item: int, kept: bool) -> None:
    """`failure_retention_seconds` is for a job in which an item failed."""
    job_id = submitted(api, "risky", [item], retention_seconds=SHORT, failure_retention_seconds=3600)["id"]
    other = submitted(api, "echo", [1], retention_seconds=SHORT)
    gone(api, other["links"]["self"])

    if kept:
        assert ended(api, job_id)["counts"]["failed"] == 1
    else:
        gone(api, f"/v1/jobs/{job_id}")


def test_the_id_of_an_expired_job_is_not_run_twice_unasked(api: httpx.Client) -> None:
    """The same submission is 410 until the tombstone is deleted; another one is a new job."""
    job_id, other_id = an_id(), an_id()

    def put(job_id: str, line: bytes) -> httpx.Response:
        return api.put(f"/v1/jobs/{job_id}?task=echo&retention_seconds={SHORT}", content=line)

    for each in (job_id, other_id):
        put(each, b"1\n").raise_for_status()
        gone(api, f"/v1/jobs/{each}")

    assert "DELETE" in problem_of(put(job_id, b"1\n"), 410)["detail"]
    assert put(other_id, b"2\n").status_code == 202
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204
    problem_of(api.get(f"/v1/jobs/{job_id}"), 404)
    assert put(job_id, b"1\n").status_code == 202


def test_the_key_of_an_expired_job_is_not_used_again_unasked(api: httpx.Client) -> None:
    """The same key and payload would be that job: 410."""
    body = {"task": "echo", "items": [1], "retention_seconds": SHORT}
    headers = {"Idempotency-Key": an_id("key")}
    job = document_of(api.post("/v1/jobs", json=body, headers=headers).raise_for_status())
    gone(api, job["links"]["self"])

    problem_of(api.post("/v1/jobs", json=body, headers=headers), 410)


def test_a_reader_of_a_job_that_goes_is_cut_off(api: httpx.Client) -> None:
    """Its body does not end cleanly: nobody takes a part of the results for all of them."""
    lines = b"".join(b'"%06d%s"\n' % (number, b"x" * 10_000) for number in range(4_000))
    job = document_of(api.post("/v1/jobs?task=echo", content=lines, headers=JSONL).raise_for_status())
    ended(api, job["id"])

    def read_while_it_is_deleted() -> None:
        with api.stream("GET", job["links"]["results"]) as response:
            pieces = response.iter_raw()
            next(pieces)
            api.delete(job["links"]["self"]).raise_for_status()
            for _ in pieces:
                pass

    with pytest.raises(httpx.RemoteProtocolError):
        read_while_it_is_deleted()


def test_the_database_does_not_grow_for_ever(api: httpx.Client, pruned: Server) -> None:
    """What expired jobs took is given back, or used again."""
    database = pruned.data / "millpond.sqlite"
    lines = b'"%s"\n' % (b"x" * 100_000) * 100

    for _ in range(6):
        job = document_of(
            api.post(f"/v1/jobs?task=echo&retention_seconds={SHORT}", content=lines, headers=JSONL)
        )
        gone(api, job["links"]["self"])

    def small() -> bool:
        return database.stat().st_size < 3 * len(lines)

    eventually(small, SECONDS_MAX, "the file shrinks")


# -- Files


def test_a_file_that_no_job_names_goes_in_the_end(api: httpx.Client, pruned: Server) -> None:
    """Not before its time; uploading it again is a new beginning."""
    young, old, again = (uploaded(api, os.urandom(100)) for _ in range(3))
    for file_id in (old, again):
        aged(pruned, file_id)
    gone_by_name(api, old)

    assert api.get(f"/v1/files/{young}").status_code == 200
    content = os.urandom(50)
    file_id = uploaded(api, content)
    aged(pruned, file_id)
    gone_by_name(api, file_id)
    assert uploaded(api, content) == file_id
    assert api.get(f"/v1/files/{file_id}").content == content


def test_a_file_that_an_item_names_stays_with_its_job(api: httpx.Client, pruned: Server) -> None:
    """However old it is, finished or not, in an item or in `params`; once the job is deleted it goes."""
    table = uploaded(api, b"city,price\nbern,3\nbern,4\n")
    other = uploaded(api, b"city,price\nbasel,3\n")
    job_ids = [
        submitted(api, "aggregate_csv", [{"table": table, "by": "city", "value": "price"}])["id"],
        submitted(api, "aggregate_csv", [{"by": "city", "value": "price"}], params={"table": other})["id"],
    ]
    stranger = uploaded(api, os.urandom(100))
    for file_id in (table, other, stranger):
        aged(pruned, file_id)
    gone_by_name(api, stranger)

    assert [api.get(f"/v1/files/{file_id}").status_code for file_id in (table, other)] == [200, 200]
    problem_of(api.delete(f"/v1/files/{table}"), 409)
    for job_id in job_ids:
        ended(api, job_id)
        api.delete(f"/v1/jobs/{job_id}").raise_for_status()
    for file_id in (table, other):
        gone_by_name(api, file_id)


def test_a_file_that_goes_while_it_is_sent_is_sent(api: httpx.Client, pruned: Server) -> None:
    """It was opened before anything was answered; who asks later is told that it is not there."""
    content = os.urandom(24 << 20)  # more than the sockets between us hold
    file_id = uploaded(api, content)
    with api.stream("GET", f"/v1/files/{file_id}") as response:
        pieces = response.iter_raw()
        received = next(pieces)
        aged(pruned, file_id)
        gone_by_name(api, file_id)
        received += b"".join(pieces)

    assert received == content


def test_a_file_is_there_or_not_whenever_it_goes(api: httpx.Client, pruned: Server) -> None:
    """Nobody who asks at that moment meets anything else."""
    for _ in range(20):
        content = os.urandom(10)
        file_id = uploaded(api, content)
        aged(pruned, file_id)
        while (answer := api.get(f"/v1/files/{file_id}")).status_code == 200:
            assert answer.content == content
        problem_of(answer, 404)


# -- Space


def test_above_the_quota_nothing_new_is_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    """507 with Retry-After for jobs and files, before their bodies are read; deleting makes room."""
    data = tmp_path_factory.mktemp("data")
    with serving(data, prune_seconds="0.02", max_disk_bytes=str(4 << 20)) as server, client(server) as api:
        file_id = uploaded(api, os.urandom(5 << 20))

        for answer in (api.post("/v1/files", content=b"1"), api.post("/v1/jobs", content=b"not even JSON")):
            problem = problem_of(answer, 507)
            assert problem["type"] == "/problems/storage-full"
            assert "4.0 MiB" in problem["detail"]
            assert int(answer.headers["retry-after"]) > 0
        assert api.get(f"/v1/files/{file_id}").status_code == 200
        api.delete(f"/v1/files/{file_id}").raise_for_status()

        eventually(lambda: not api.post("/v1/files", content=b"1").is_error, SECONDS_MAX, "there is room")
        assert ran(api, "square", [2])[0]["output"] == 4
