"""What the service answers, read strictly: whatever a test looks at, these readers look at the rest.

Invariant: the counts of every Job that passes through here sum to its total, and every answer is as the service's
OpenAPI document has it.
"""

import io
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
from PIL import Image

from bench.server import Server
from tests.published import Published, published

Document = dict[str, Any]

PROBLEM = "application/problem+json"
PROBLEM_BYTES_MAX = 2_000
"""A problem that is longer echoes what it was sent."""
JSON = {"Content-Type": "application/json"}
JSONL = {"Content-Type": "application/jsonl"}
WAIT = {"Prefer": "wait=30"}
SECONDS_MAX = 20
"""More than this is a hang."""
FINISHED = {"completed", "failed", "cancelled", "expired"}

MIXED = [{"x": 5 if n % 4 == 0 else n + 6} for n in range(40)]
"""For `risky`: every fourth fails."""


def client(server: Server) -> httpx.Client:
    """A client of this service whose answers are checked."""
    document = published(server.url)
    # No connection is ever one too many: httpcore may close such a one under a thread that was just given it
    # (github.com/encode/httpcore/issues/1110).
    return server.client(
        event_hooks={"response": [_check, partial(_check_documented, document)]},
        limits=httpx.Limits(max_keepalive_connections=None),
    )


def an_id(name: str = "job") -> str:
    """A job id that no other test has."""
    return f"{name}-{uuid4().hex[:12]}"


def a_picture(colour: str, width: int = 64) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, 48), colour).save(data, "JPEG")
    return data.getvalue()


def submitted(api: httpx.Client, task: str, items: Sequence[object], **options: object) -> Document:
    """A new job."""
    body = {"task": task, "items": items, **options}
    return document_of(api.post("/v1/jobs", json=body).raise_for_status())


def post(api: httpx.Client, body: str | bytes, **headers: str) -> httpx.Response:
    """Submit this body as JSON."""
    return api.post("/v1/jobs", content=body, headers=JSON | headers, timeout=SECONDS_MAX)


def put(api: httpx.Client, query: str, body: str | bytes = b"1\n", **headers: str) -> httpx.Response:
    """Submit this body as JSON lines, under a new id."""
    return api.put(f"/v1/jobs/{an_id()}?{query}", content=body, headers=headers, timeout=SECONDS_MAX)


def ended(api: httpx.Client, job_id: str) -> Document:
    """The job, once it has finished."""
    job = document_of(api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"}).raise_for_status())
    assert job["status"] in FINISHED, job
    return job


def ran(api: httpx.Client, task: str, items: Sequence[object], **options: object) -> list[Document]:
    """The results of a new job, in input order."""
    job = ended(api, submitted(api, task, items, **options)["id"])
    assert job["status"] == "completed", job
    return lines_of(api.get(f"/v1/jobs/{job['id']}/results.jsonl", params={"order": "index"}).content)


def sent(server: Server, request: bytes) -> httpx.Response:
    """The answer to bytes that no client library would send; the service must close the connection after it."""
    address = httpx.URL(server.url)
    assert address.port is not None
    with socket.create_connection((address.host, address.port), timeout=SECONDS_MAX) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in headers]
    return httpx.Response(int(status.split()[1]), headers=[(n, v) for n, v in pairs], content=body)


def document_of(response: httpx.Response) -> Document:
    document = response.json()
    assert isinstance(document, dict)
    return document


def lines_of(body: bytes) -> list[Document]:
    """The documents of JSON lines; each line ends in a newline, and what separates them is nothing else."""
    assert body == b"" or body.endswith(b"\n")
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


def problem_of(response: httpx.Response, status: int) -> Document:
    """The problem (RFC 9457) that the response is."""
    assert response.headers["content-type"] == PROBLEM, response.text[:200]
    document = document_of(response)
    assert response.status_code == document["status"] == status, document
    assert document["type"].startswith("/problems/")
    assert document["title"]
    assert document["detail"]
    assert len(response.content) <= PROBLEM_BYTES_MAX
    for fault in document.get("errors", []):
        assert fault["detail"]
        assert fault.keys() - {"detail"} <= {"pointer", "parameter", "line"}
    return document


def problem_names(problem: Document) -> set[str]:
    """The places that a problem blames."""
    return {fault.get("pointer") or fault.get("parameter", "") for fault in problem.get("errors", [])}


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event, its data undecoded."""

    name: str
    id: str
    data: bytes

    @property
    def document(self) -> Document:
        document = json.loads(self.data)
        assert isinstance(document, dict)
        check_counts(document)
        return document

    @property
    def lines(self) -> list[bytes]:
        """The result lines of a `results` event, the same bytes."""
        assert self.name == "results"
        return _members(self.data.removeprefix(b'{"results":[').removesuffix(b"]}").decode())


def events_of(response: httpx.Response) -> Iterator[Event]:
    """The events of a stream (HTML standard, 9.2.6), as they come; a block must be whole to count."""
    fields: dict[str, str] = {}
    for line in _text_lines(response.iter_bytes()):
        if line:
            name, _, value = line.partition(":")
            assert name in ("", "event", "id", "data", "retry"), line
            assert name not in fields or name == ""
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            event = Event(fields.get("event", "message"), fields["id"], fields["data"].encode())
            assert event.name in ("job", "progress", "results", "end")
            assert event.document is not None
            yield event
            fields = {}


def check_counts(document: object) -> None:
    """The five counts of every Job in the document sum to its total."""
    if isinstance(document, list):
        for member in document:
            check_counts(member)
    elif isinstance(document, dict):
        if isinstance(counts := document.get("counts"), dict):
            parts = ("queued", "running", "succeeded", "failed", "cancelled")
            assert counts.keys() == {"total", *parts}
            assert sum(counts[part] for part in parts) == counts["total"], document
            assert min(counts.values()) >= 0, document
        check_counts(document.get("jobs"))


def _check(response: httpx.Response) -> None:
    if response.headers.get("content-type") == "application/json":
        response.read()
        if response.content:  # HEAD has none
            check_counts(response.json())


def _check_documented(document: Published, response: httpx.Response) -> None:
    """The answer is as the OpenAPI document of the service has it."""
    if response.headers.get("content-type", "").endswith("json"):
        response.read()
    document.check(response)


def _text_lines(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)
    assert rest == b"", "the stream ends within a line"


def _members(array: str) -> list[bytes]:
    """The members of a JSON array, without its brackets, as they are written."""
    decode = json.JSONDecoder().raw_decode
    position, members = 0, []
    while position < len(array):
        _, end = decode(array, position)
        members.append(array[position:end].encode())
        assert array[end : end + 1] in (",", "")
        position = end + 1
    return members
