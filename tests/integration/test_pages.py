"""The pages for people work without any other server, and HEAD works wherever GET does."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import PROBLEM, Document, client, document_of, ended, submitted


class Links(HTMLParser):
    """Every address in a page's HTML that a browser loads without being asked."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "srcset", "action", "poster")]
        if tag == "link":
            self.loaded += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.inline += data


@pytest.fixture(scope="module")
def job(server: Server) -> Document:
    with client(server) as api:
        return ended(api, submitted(api, "sqrt", [1, 4, -9])["id"])


def links_of(response: httpx.Response) -> Links:
    links = Links()
    links.feed(response.text)
    return links


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/jobs/some-id"])
def test_a_page_loads_nothing_from_anywhere_else(api: httpx.Client, path: str) -> None:
    """Every address in its HTML is this service's own or `data:`, and what they name is there."""
    response = api.get(path)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    links = links_of(response)
    assert links.loaded
    for link in links.loaded:
        address = urljoin(str(response.url), link)
        assert link.startswith("data:") or address.startswith(str(api.base_url)), link
        if not link.startswith("data:"):
            assert api.get(address).status_code == 200, link
    assert not re.search(r"https?://", links.inline), links.inline


def test_the_documentation_describes_every_route(api: httpx.Client) -> None:
    """/docs reads /openapi.json of this service, which has the routes of jobs, results, events and files."""
    page, document = api.get("/docs"), document_of(api.get("/openapi.json"))

    assert "/openapi.json" in page.text
    paths = {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/results.jsonl", "/v1/jobs/{job_id}/events"}
    assert paths | {"/v1/files/{file_id}", "/v1/tasks", "/v1/pool"} <= document["paths"].keys()


def test_the_dashboard_is_protected_by_its_headers(api: httpx.Client) -> None:
    """Nothing from elsewhere may run in it, and nobody may frame it."""
    headers = api.get("/").headers

    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/static/../main.py", "/static/%2e%2e/main.py", "/static//etc/passwd", "/static"]
)
def test_static_files_are_those_of_the_dashboard(server: Server, path: str) -> None:
    """No address leads out of the folder."""
    with client(server) as api:
        request = api.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        response = api.send(request)

    assert response.status_code in (404, 405)
    assert response.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("path", ["/v1/jobs/", "/v1/tasks/sqrt/"])
def test_an_address_with_a_slash_too_many_is_none(server: Server, path: str) -> None:
    """Nor does it lead on: curl would follow nothing, submit nothing, and call that a success."""
    with client(server) as api:
        assert api.get(path).status_code == api.post(path, json={}).status_code == 404


def test_without_keys_no_other_page_changes_anything(server: Server) -> None:
    """A page from anywhere reaches what listens on loopback; our own page, and who is no page, may go on."""
    body = {"task": "square", "items": [2], "label": "from a page"}
    with client(server) as api:
        refused = api.post("/v1/jobs", json=body, headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403
        assert api.get("/v1/jobs", params={"q": "from a page"}).json()["jobs"] == []
        assert api.post("/v1/jobs", json=body, headers={"Origin": server.url}).status_code in (200, 202)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("mill.localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("evillocalhost", 403),
    ],
)
def test_without_keys_no_name_is_led_here(server: Server, host: str, status: int) -> None:
    """A page under a name that is led to loopback is of the service's own origin: it could read everything."""
    with client(server) as api:
        answer = api.get("/v1/jobs", headers={"Host": host})

        assert answer.status_code == status
        assert (status == 200) != ("MILLPOND_AUTH=none" in answer.text)


def test_where_everybody_may_come_in_every_name_does(tmp_path: Path) -> None:
    """As behind a proxy, once the operator has said so."""
    with serving(tmp_path, auth="none") as server, client(server) as api:
        assert api.get("/v1/jobs", headers={"Host": "mill.example"}).status_code == 200


def paths_of(job: Document) -> Iterator[str]:
    yield from ("/", "/docs", "/openapi.json", "/livez", "/readyz", "/static/style.css")
    yield from ("/v1/jobs", "/v1/tasks", "/v1/tasks/sqrt", "/v1/pool")
    yield from (job["links"][name] for name in ("self", "results", "failures", "events"))
    yield from (f"{job['links']['results']}?follow=1", f"{job['links']['self']}/results")


def test_head_is_get_without_its_body(api: httpx.Client, job: Document) -> None:
    """The same status and headers, no body, and no stream is started."""
    for path in paths_of(job):
        head = api.head(path)
        with api.stream("GET", path) as got:
            assert (head.status_code, head.content) == (got.status_code, b""), path
            ignored = {"date", "transfer-encoding", "connection"}
            told = {name: value for name, value in got.headers.items() if name not in ignored}
            assert {name: value for name, value in head.headers.items() if name not in ignored} == told, path


def test_head_of_a_live_stream_returns_at_once(api: httpx.Client) -> None:
    """Asking for the headers of a stream does not wait for its job."""
    live = submitted(api, "sleep_for", [0.8])
    for path in (live["links"]["events"], f"{live['links']['results']}?follow=1"):
        assert api.head(path).elapsed.total_seconds() < 0.7
    assert ended(api, live["id"])["status"] == "completed"


@pytest.mark.parametrize("path", ["/nope", "/v1/jobs/no-such-job", "/v1/jobs?limit=0"])
def test_head_of_a_problem_has_no_body(api: httpx.Client, path: str) -> None:
    """Status and media type say it."""
    head, got = api.head(path), api.get(path)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == PROBLEM


def test_the_probes_answer(api: httpx.Client) -> None:
    """Alive, and ready for work."""
    assert api.get("/livez").status_code == api.get("/readyz").status_code == 200


def test_every_task_shows_how_to_be_called(api: httpx.Client) -> None:
    """Each has its schemas and a curl line that names this service."""
    tasks = document_of(api.get("/v1/tasks"))["tasks"]

    assert {"echo", "sqrt", "resize_image", "estimate_pi"} <= {task["name"] for task in tasks}
    for task in tasks:
        assert task == document_of(api.get(task["links"]["self"]))
        assert {"item_schema", "params_schema", "output_schema", "description", "defaults"} <= task.keys()
        assert str(api.base_url).rstrip("/") in task["curl"]
