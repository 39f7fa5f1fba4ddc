"""A caller's share of the service: what is over it is refused early, with a word about when to come back."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.answers import (
    Document,
    a_picture,
    an_id,
    document_of,
    ended,
    problem_of,
    sent,
    submitted,
)
from tests.integration.callers import Keyed, serving_keys
from tests.waiting import eventually

STORED_MAX = 4 << 20


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A service where each caller may have two jobs, a hundred waiting items and four mebibytes."""
    settings = {
        "max_jobs_per_caller": "2",
        "max_queued_items_per_caller": "100",
        "max_stored_bytes_per_caller": str(STORED_MAX),
    }
    with serving_keys(tmp_path_factory.mktemp("limited"), **settings) as running:
        yield running


@pytest.fixture
def ann(limited: Keyed) -> Iterator[httpx.Client]:
    """A caller who leaves nothing behind."""
    with limited.client("ann") as api:
        yield api
        for job in document_of(api.get("/v1/jobs"))["jobs"]:
            api.post(f"/v1/jobs/{job['id']}/cancel")
            ended(api, job["id"])
            api.delete(f"/v1/jobs/{job['id']}")


def refused(answer: httpx.Response) -> Document:
    problem = problem_of(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert problem["type"] == "/problems/over-quota"
    return problem


def test_unfinished_jobs_are_counted(limited: Keyed, ann: httpx.Client) -> None:
    """One too many is refused, in any form; another caller's are not counted, and one that ends makes room."""
    jobs = [submitted(ann, "sleep_for", [60]) for _ in range(2)]

    assert "2 unfinished jobs" in refused(ann.post("/v1/jobs", json={"task": "echo", "items": [1]}))["detail"]
    refused(ann.put(f"/v1/jobs/{an_id()}?task=echo", content=b"1\n"))
    with limited.client("bob") as bob:
        assert submitted(bob, "echo", [1])["submitted_by"] == "bob"
    ann.post(f"/v1/jobs/{jobs[0]['id']}/cancel")
    ended(ann, jobs[0]["id"])
    assert submitted(ann, "echo", [1])


def test_a_job_over_quota_is_refused_before_its_body(limited: Keyed, ann: httpx.Client) -> None:
    """The answer comes while the client has sent nothing but the head."""
    for _ in range(2):
        submitted(ann, "sleep_for", [60])

    head = (
        f"PUT /v1/jobs/{an_id()}?task=echo HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {ann.headers['Authorization']}\r\n"
        "Content-Length: 1000000\r\nConnection: close\r\n\r\n"
    )
    refused(sent(limited.server, head.encode()))


def test_waiting_items_are_counted_as_they_come(limited: Keyed, ann: httpx.Client) -> None:
    """A stream that has brought too many is refused before its end, and nothing of it stays."""
    name = an_id()
    head = (
        f"PUT /v1/jobs/{name}?task=echo HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {ann.headers['Authorization']}\r\n"
        "Content-Length: 1000000000\r\nConnection: close\r\n\r\n"
    )

    refused(sent(limited.server, head.encode() + b'"%b"\n' % (b"x" * 1000) * 400))

    assert ann.get(f"/v1/jobs/{name}").status_code == 404
    assert (
        "100 waiting items"
        in refused(ann.post("/v1/jobs", json={"task": "echo", "items": [1] * 101}))["detail"]
    )
    assert ended(ann, submitted(ann, "echo", [1] * 100)["id"])["status"] == "completed"


def test_what_can_never_fit_is_told_what_helps(ann: httpx.Client) -> None:
    """A submission larger than the quota is not told to wait; one that others are in the way of is."""
    submitted(ann, "sleep_for", [60] * 60)

    in_the_way = refused(ann.post("/v1/jobs", json={"task": "echo", "items": [1] * 60}))
    too_many = refused(ann.put(f"/v1/jobs/{an_id()}?task=echo", content=b"1\n" * 101))
    too_large = refused(ann.post("/v1/files", content=bytes(STORED_MAX + 1)))

    assert "wait until some have run" in in_the_way["detail"]
    assert "waiting does not help. Send them in several jobs" in too_many["detail"]
    assert "waiting does not help. Send less" in too_large["detail"]


def test_stored_bytes_are_counted(ann: httpx.Client) -> None:
    """Items, results and files; what is deleted makes room."""
    job = ended(ann, submitted(ann, "echo", ["x" * (1 << 20)])["id"])
    file = document_of(ann.post("/v1/files", content=b"y" * (1 << 20)).raise_for_status())["file"]

    refused(ann.post("/v1/files", content=b"z" * (2 << 20)))
    refused(ann.post("/v1/jobs", json={"task": "echo", "items": ["z" * (2 << 20)]}))
    assert ann.delete(f"/v1/files/{file}").status_code == 204
    assert ann.delete(f"/v1/jobs/{job['id']}").status_code == 204

    eventually(lambda: ann.post("/v1/files", content=b"z" * (2 << 20)).status_code == 201, 10, "room again")


def test_a_form_is_counted_too(ann: httpx.Client) -> None:
    """Its files are stored while it comes."""
    pictures = [("file", (f"{number}.jpg", a_picture("red") + bytes(3 << 20))) for number in range(2)]

    refused(ann.post("/v1/jobs", params={"task": "resize_image"}, files=pictures))


def test_one_callers_quota_can_be_another(tmp_path: Path) -> None:
    """As the file of keys says; it counts from the next request on."""
    with serving_keys(tmp_path, max_jobs_per_caller="1") as keyed, keyed.client("ann") as api:
        submitted(api, "sleep_for", [60])
        refused(api.post("/v1/jobs", json={"task": "echo", "items": [1]}))

        file = tmp_path / "keys.json"
        content = json.loads(file.read_text()) | {"quotas": {"ann": {"jobs_max": 2}}}
        file.with_suffix(".new").write_text(json.dumps(content))
        file.with_suffix(".new").replace(file)

        submitted(api, "sleep_for", [60])
        refused(api.post("/v1/jobs", json={"task": "echo", "items": [1]}))
