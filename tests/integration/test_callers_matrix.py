"""Who may do what: every route, asked by everybody.

Invariant: a route of the service that has no row here fails, so nobody adds one without saying who may use it.
"""

from typing import NamedTuple

import httpx
import pytest

from tests.integration.answers import Document, an_id, document_of, ended, submitted
from tests.integration.callers import Keyed, bearer

OPEN = "open"
"""For everybody."""
READ, SUBMIT, ADMIN = "read", "submit", "admin"
"""What it takes, where the thing asked for is nobody's in particular."""


class Row(NamedTuple):
    """One route: what it takes, and what an own and another's job or file is answered with."""

    takes: str
    own: int = 200
    others: int | None = None
    json: object = None


SUBMISSION = {"task": "echo", "items": [1]}
ROWS = {
    "GET /": Row(OPEN),
    "GET /jobs/{job_id}": Row(OPEN),
    "GET /livez": Row(OPEN),
    "GET /readyz": Row(OPEN),
    "GET /docs": Row(OPEN),
    "GET /docs/oauth2-redirect": Row(OPEN),
    "GET /redoc": Row(OPEN),
    "GET /openapi.json": Row(OPEN),
    "GET /metrics": Row(READ),
    "GET /problems": Row(OPEN),
    "GET /problems/{name}": Row(OPEN),
    "GET /v1/tasks": Row(READ),
    "GET /v1/tasks/{name}": Row(READ),
    "GET /v1/pool": Row(READ),
    "PATCH /v1/pool/{name}": Row(ADMIN, json={}),
    "GET /v1/session": Row(READ),
    "GET /v1/jobs": Row(READ),
    "POST /v1/jobs": Row(SUBMIT, 202, json=SUBMISSION),
    "PUT /v1/jobs/{job_id}": Row(SUBMIT, 409, 409, json=SUBMISSION),
    "GET /v1/jobs/{job_id}": Row(READ, others=404),
    "PATCH /v1/jobs/{job_id}": Row(SUBMIT, 409, 404, json={"priority": "low"}),
    "DELETE /v1/jobs/{job_id}": Row(SUBMIT, 204, 404),
    "POST /v1/jobs/{job_id}/cancel": Row(SUBMIT, others=404),
    "POST /v1/jobs/{job_id}/pause": Row(SUBMIT, 409, 404),
    "POST /v1/jobs/{job_id}/resume": Row(SUBMIT, 409, 404),
    "POST /v1/jobs/{job_id}/items": Row(SUBMIT, 422, 404, json=[2]),  # of one's own: where is missing
    "POST /v1/jobs/{job_id}/seal": Row(SUBMIT, others=404),
    "POST /v1/jobs/{job_id}/retry": Row(SUBMIT, 409, 404, json={}),  # of one's own: nothing failed
    "GET /v1/jobs/{job_id}/results": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/results.jsonl": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/inputs.jsonl": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/items/{index}": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/errors": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/timings": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/explain": Row(READ, others=404),
    "GET /v1/jobs/{job_id}/events": Row(READ, others=404),
    "POST /v1/files": Row(SUBMIT, 201),
    "GET /v1/files/{file_id}": Row(READ, others=404),
    "DELETE /v1/files/{file_id}": Row(SUBMIT, 204, 404),
}
HIDDEN = {
    "GET /", "GET /jobs/{job_id}", "GET /docs", "GET /docs/oauth2-redirect", "GET /redoc", "GET /openapi.json"
}  # fmt: skip
"""Routes of the page and of the documents, which the OpenAPI document does not have."""
ELSEWHERE = {
    "GET /v1/events": "tests/integration/test_overview.py",  # which never ends
    "POST /v1/session": "tests/integration/test_sessions.py",
    "DELETE /v1/session": "tests/integration/test_sessions.py",
}


@pytest.fixture(scope="module")
def published(keyed: Keyed) -> set[str]:
    """Every route of the service."""
    with keyed.stranger() as api:
        paths = document_of(api.get("/openapi.json"))["paths"]
    return {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods
        if method != "head"
    }


def test_every_route_has_its_row(published: set[str]) -> None:
    """And no row is of a route that is gone."""
    assert published == {*ROWS, *ELSEWHERE} - HIDDEN


@pytest.mark.parametrize("route", ROWS)
def test_who_may_do_what(keyed: Keyed, ann: httpx.Client, route: str) -> None:
    """Without a key, with a wrong one, to read, to submit as another, as oneself, as an admin."""
    row = ROWS[route]
    method, path = route.split()

    def asked(headers: dict[str, str], job: Document, file: str) -> int:
        address = path.format(job_id=job["id"], index=0, name=_named(path), file_id=file)
        with keyed.stranger() as api:
            return api.request(method, address, headers=headers, json=row.json).status_code

    mine = ended(ann, submitted(ann, "echo", [1])["id"]), _file(ann)
    statuses = [asked(headers, *mine) for headers in ({}, bearer("millpond_wrong"))]
    statuses += [asked(bearer(keyed.keys[name]), *mine) for name in ("ann-read", "bob", "ann")]
    fresh = ended(ann, submitted(ann, "echo", [1])["id"]), _file(ann)
    statuses.append(asked(bearer(keyed.keys["boss"]), *fresh))

    assert statuses == expected(row)


def expected(row: Row) -> list[int]:
    if row.takes == OPEN:
        return [row.own] * 6
    reads = row.own if row.takes == READ else 403
    submits = 403 if row.takes == ADMIN else row.own
    others = 403 if row.takes == ADMIN else row.others or row.own
    return [401, 401, reads, others, submits, row.own]


def _file(api: httpx.Client) -> str:
    return str(document_of(api.post("/v1/files", content=an_id().encode()))["file"])


def _named(path: str) -> str:
    return {"/v1/tasks/{name}": "echo", "/problems/{name}": "conflict"}.get(path, "cpu")
