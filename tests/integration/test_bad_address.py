"""A wrong address, parameter or method, or what is hardly HTTP, is a problem that names what is right."""

import httpx
import pytest

from app.api.multipart import CONTENT_TYPE_CHARS_MAX
from app.api.query import PARAMETERS_MAX
from bench.server import Server
from tests.integration.answers import (
    an_id,
    document_of,
    post,
    problem_names,
    problem_of,
    sent,
)

DIGITS = "9" * 5_000
LINES = {"Content-Type": "application/jsonl"}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/jobs/{id}/results?limit=0", "limit"),
        ("/v1/jobs/{id}/results?limit=10001", "limit"),
        ("/v1/jobs/{id}/results?after=-1", "after"),
        ("/v1/jobs/{id}/results?after=x", "after"),
        ("/v1/jobs/{id}/results?after=", "after"),
        ("/v1/jobs/{id}/results?after=1.5", "after"),
        ("/v1/jobs/{id}/results?after=99999999999999999999", "after"),
        (f"/v1/jobs/{{id}}/results?after={DIGITS}", "after"),
        ("/v1/jobs/{id}/results.jsonl?after=9223372036854775808", "after"),
        ("/v1/jobs/{id}/events?include=results&after=9223372036854775808", "after"),
        ("/v1/jobs/{id}/results?order=x", "order"),
        ("/v1/jobs/{id}/results?status=cancelled", "status"),
        ("/v1/jobs/{id}/results?wait=soon", "wait"),
        ("/v1/jobs/{id}/results?wait=61", "wait"),
        ("/v1/jobs/{id}/results?wait=nan", "wait"),
        ("/v1/jobs/{id}/results.jsonl?follow=2", "follow"),
        ("/v1/jobs/{id}/events?include=everything", "include"),
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=1001", "limit"),
        ("/v1/jobs?status=done", "status"),
        ("/v1/jobs?cursor=-", "cursor"),
        ("/v1/jobs?cursor=no-such-job", "cursor"),
        ("/v1/jobs?cursor=a%00b", "cursor"),
        ("/v1/jobs?q=%00", "q"),
        ("/v1/jobs?q=a%0Ab", "q"),
        ("/v1/jobs?task=%1F", "task"),
        ("/v1/jobs/-x", "job_id"),
        ("/v1/jobs/a%00b", "job_id"),
        ("/v1/jobs/a%0A", "job_id"),
        ("/v1/jobs/%C3%A9", "job_id"),
        (f"/v1/jobs/{'a' * 65}/results", "job_id"),
        (f"/v1/jobs/{'a' * 65}/events", "job_id"),
    ],
    ids=lambda text: text[:60],
)
def test_a_wrong_parameter_is_named(api: httpx.Client, path: str, place: str) -> None:
    """422, with the parameter and what it may be."""
    job = document_of(post(api, '{"task":"sqrt","items":[]}'))

    problem = problem_of(api.get(path.replace("{id}", job["id"])), 422)

    assert problem_names(problem) == {place}
    assert place in problem["detail"]


def test_an_unknown_parameter_is_told_the_known_ones(api: httpx.Client) -> None:
    """A misspelt one is not taken for its default, and one given twice is not guessed at."""
    job_id = an_id()

    misspelt = problem_of(api.get("/v1/jobs?limt=5"), 422)
    twice = problem_of(api.get("/v1/jobs?limit=5&limit=6"), 422)
    needless = problem_of(api.get("/livez?verbose"), 422)
    submitted = problem_of(api.put(f"/v1/jobs/{job_id}?task=sqrt&lable=x&param.y=1", content=b"1"), 422)

    assert misspelt["detail"] == ("limt: no such parameter here; there are status, task, q, limit, cursor.")
    assert (problem_names(twice), twice["detail"]) == (
        {"limit"},
        "limit: given 2 times; say which one you mean.",
    )
    assert needless["detail"] == "verbose: no such parameter here; there are none."
    assert problem_names(submitted) == {"lable"}
    assert {"label", "validate_only", "params", "param.NAME"} <= set(
        submitted["detail"].rpartition("there are ")[2][:-1].split(", ")
    )


def test_an_address_may_have_a_hundred_parameters(api: httpx.Client) -> None:
    """One more is refused, whichever they are; a hundred are looked at one by one."""
    names = [f"param.a{n}=1" for n in range(PARAMETERS_MAX)]

    most = problem_of(api.post(f"/v1/jobs?{'&'.join(names)}", content=b"1", headers=LINES), 422)
    more = problem_of(api.post(f"/v1/jobs?{'&'.join(names)}&task=sqrt", content=b"1", headers=LINES), 422)
    form = {"Content-Type": f"multipart/form-data; boundary=x; y={'z' * CONTENT_TYPE_CHARS_MAX}"}
    long = problem_of(api.post("/v1/jobs", content=b"1", headers=form), 400)

    assert "100 parameters" not in most["detail"]
    assert more["detail"] == "An address may have 100 parameters; params=… takes many as JSON."
    assert long["detail"] == "The Content-Type has more than 1024 characters; all it needs is a boundary."


def test_the_page_takes_any_parameter(api: httpx.Client) -> None:
    """Its address is its own, and what is beside it (a tracker's, a cache's) is not ours to refuse."""
    for path in ("/?view=x", "/jobs/x?tab=y", "/static/style.css?v=1", "/openapi.json?x=1", "/docs?x=1"):
        assert api.get(path).status_code == 200


@pytest.mark.parametrize("path", ["", "/results", "/results.jsonl", "/events", "/results.jsonl?follow=1"])
def test_an_unknown_job_is_not_found(api: httpx.Client, path: str) -> None:
    """404 on every resource of a job, before any stream starts."""
    problem_of(api.get(f"/v1/jobs/{an_id()}{path}"), 404)


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/nope", "/v1/jobs/a/b", "/v1/tasks/sqtr", "/static/nope"]
)
def test_what_is_not_there_is_not_found(api: httpx.Client, path: str) -> None:
    """The framework's own 404 is a problem too."""
    problem_of(api.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/jobs/x", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("DELETE", "/v1/jobs", "GET, HEAD, POST"),
        ("GET", "/v1/jobs/x/cancel", "POST"),
        ("HEAD", "/v1/jobs/x/cancel", "POST"),
        ("POST", "/v1/jobs/x/results", "GET, HEAD"),
        ("OPTIONS", "/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("DELETE", "/livez", "GET, HEAD"),
        ("POST", "/static/style.css", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    api: httpx.Client, method: str, path: str, allowed: str
) -> None:
    """405, with every method of the resource in `Allow`."""
    response = api.request(method, path)

    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) >= set(allowed.split(", "))
    assert method not in response.headers["allow"].split(", ")
    if method != "HEAD":
        assert "GET" in problem_of(response, 405)["detail"] or allowed == "POST"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"hello", 400),
        (b"BREW /v1/jobs HTTP/1.1", 400),
        (b"GET /v1/jobs/a\0b HTTP/1.1", 400),
        ("GET /v1/jobs?q=é HTTP/1.1".encode(), 400),
        (b"GET /v1/jobs?q=%FF HTTP/1.1", 400),
        (b"PUT /v1/jobs/x?task=sqrt&label=%FF HTTP/1.1", 400),
        (b"PUT /v1/jobs/x?task=sqrt HTTP/1.1\r\nContent-Length: -5", 400),
        (b"PUT /v1/jobs/x?task=sqrt HTTP/1.1\r\nContent-Length: x", 400),
        (b"GET /v1/jobs/" + b"x" * 20_000 + b" HTTP/1.1", 422),
        (b"GET /v1/jobs/" + b"x" * 100_000 + b" HTTP/1.1", 431),
        (b"GET /v1/jobs?q=" + b"x" * 100_000 + b" HTTP/1.1", 431),
        (b"GET /v1/jobs HTTP/1.1\r\nX: " + b"y" * 100_000, 431),
        (b"GET /v1/jobs HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"X: y", 431),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_hardly_http_is_answered_with_a_problem(
    server: Server, request_line: bytes, status: int
) -> None:
    """Below the framework too: unknown methods, raw bytes in an address, and heads without an end."""
    response = sent(server, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    problem_of(response, status)


def test_a_broken_chunk_makes_no_job(server: Server, api: httpx.Client) -> None:
    """A chunked body whose framing is wrong is refused, however much of it was read."""
    job_id = an_id()
    head = f"PUT /v1/jobs/{job_id}?task=sqrt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    response = sent(server, head + b"4\r\n1\n4\n\r\nzz\r\n")

    problem_of(response, 400)
    problem_of(api.get(f"/v1/jobs/{job_id}"), 404)
