"""The endpoints of docs/api.md, its problems and its documents' members: each of them is a fact of the service."""

import json
from typing import Any

import httpx
import pytest

from app.api.problem_types import PROBLEM_TYPES
from tests.conformance.document import Row, problems, table
from tests.conformance.endpoints import CALLS
from tests.integration.answers import (
    Document,
    document_of,
    ended,
    post,
    problem_names,
    problem_of,
    submitted,
)

ENDPOINTS = table("method and path")
OPTIONS = table("option")
MEMBERS = table("member")

JSON_TYPES: dict[str, type] = {
    "string": str,
    "number": float,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def row_id(row: Row) -> str:
    return row.name


@pytest.mark.parametrize("row", ENDPOINTS, ids=row_id)
def test_an_endpoint_answers_what_its_row_says(api: httpx.Client, row: Row) -> None:
    """Each of the statuses of the row is brought about, and no other."""
    method, _ = row.name.split()
    told = {int(status) for status in f"{row.cells['success']} {row.cells['errors']}".split()}

    responses = list(CALLS[row.name](api))

    assert {response.status_code for response in responses} == told
    assert {response.request.method for response in responses} == {method}


def test_each_route_has_a_row() -> None:
    """What the rows name is what there are calls for."""
    assert {row.name for row in ENDPOINTS} == CALLS.keys()


def test_the_rows_are_the_routes(api: httpx.Client) -> None:
    """No route is missing in the table, and none is invented; each status it names is in the OpenAPI document."""
    paths = document_of(api.get("/openapi.json"))["paths"]
    routes = {
        f"{method.upper()} {path}": operation
        for path, of in paths.items()
        for method, operation in of.items()
    }

    assert routes.keys() == {row.name for row in ENDPOINTS}
    for row in ENDPOINTS:
        told = set(f"{row.cells['success']} {row.cells['errors']}".split())
        assert told <= routes[row.name]["responses"].keys(), row.name


WRITERS = {
    "POST /v1/jobs",
    "PUT /v1/jobs/{job_id}",
    "POST /v1/jobs/{job_id}/items",
    "POST /v1/jobs/{job_id}/retry",
    "DELETE /v1/jobs/{job_id}",
    "POST /v1/files",
    "DELETE /v1/files/{file_id}",
}
"""What stores or deletes something, and is answered once that is done."""


def test_what_needs_the_disk_may_find_it_full(api: httpx.Client) -> None:
    """The OpenAPI document says so of these, and of no other."""
    paths = document_of(api.get("/openapi.json"))["paths"]

    assert {
        f"{method.upper()} {path}"
        for path, of in paths.items()
        for method, operation in of.items()
        if "507" in operation["responses"]
    } == WRITERS


@pytest.mark.parametrize("row", ENDPOINTS, ids=row_id)
def test_an_endpoint_refuses_a_parameter_that_it_does_not_know(api: httpx.Client, row: Row) -> None:
    """422 names it, before anything else of the request is looked at."""
    method, path = row.name.split()

    answer = api.request(method, f"{path}?no_such_parameter=1")

    assert problem_names(problem_of(answer, 422)) == {"no_such_parameter"}


@pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.name.startswith("GET ")], ids=row_id)
def test_head_works_wherever_get_does(api: httpx.Client, row: Row, mixed: Document) -> None:
    """The same status and headers, and no body; a stream is not started."""
    place = row.name.split()[1].replace("{job_id}", mixed["id"]).replace("{index}", "0")
    place = place.replace("/tasks/{name}", "/tasks/sqrt").replace("/problems/{name}", "/problems/gone")
    if "{file_id}" in place:
        place = api.post("/v1/files", content=b"head").headers["location"]

    head = api.head(place)
    with api.stream("GET", place) as get:  # one of them has no end
        pass

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.get("etag") == get.headers.get("etag")


@pytest.mark.parametrize("row", OPTIONS, ids=row_id)
def test_an_option_takes_what_its_row_says(api: httpx.Client, row: Row) -> None:
    """Each value in the row is taken or refused as it says, and its default stands in the Job."""
    name = row.name
    sent: dict[str, Any] = {"task": "sqrt", "items": []}

    for value in map(json.loads, row.codes("taken")):
        job = document_of(post(api, json.dumps(sent | {name: value})).raise_for_status())
        assert (job["options"] | job | {"open": not job["sealed"]})[name] == value
    for value in map(json.loads, row.codes("refused")):
        answer = post(api, json.dumps(sent | {name: value}))
        problem = problem_of(answer, 422)
        assert problem["type"] == "/problems/unknown-task" or all(
            place.startswith(f"/{name}") for place in problem_names(problem)
        )
    if default := row.codes("default"):
        job = document_of(post(api, json.dumps(sent)))
        assert (job["options"] | job | {"open": not job["sealed"]})[name] == json.loads(default[0])


def test_the_rows_are_the_options(api: httpx.Client) -> None:
    """Besides `items`, and `webhook`, which is refused."""
    schemas = document_of(api.get("/openapi.json"))["components"]["schemas"]

    assert {row.name for row in OPTIONS} - {"webhook"} == schemas["Submission"]["properties"].keys() - {
        "items"
    }


@pytest.mark.parametrize("row", MEMBERS, ids=row_id)
def test_a_member_of_the_job_is_of_its_type(api: httpx.Client, row: Row, mixed: Document) -> None:
    """In one that is new, one that has finished, and one that was ended early."""
    new = submitted(api, "echo", [1], label="x", metadata={})
    stopped = submitted(api, "risky", [5] * 500, max_failures=1, chunksize=1)
    types = tuple(JSON_TYPES[word] for word in row.cells["type"].split(" or "))

    for job in (new, mixed, ended(api, stopped["id"])):
        value = job[row.name]
        assert isinstance(value, types + ((int,) if float in types else ())), value
        assert isinstance(value, bool) <= (bool in types)


def test_the_rows_are_the_members_of_the_job(mixed: Document) -> None:
    """In the same order."""
    assert [row.name for row in MEMBERS] == list(mixed)


@pytest.mark.parametrize(("address", "told"), problems().items())
def test_a_type_of_problem_is_what_is_told_of_it(api: httpx.Client, address: str, told: str) -> None:
    """Status, meaning and remedy are those that the service answers from."""
    kind = PROBLEM_TYPES[address.removeprefix("/problems/")]

    assert told == f"{f', {kind.status}' if kind.status else ''}: {kind.means} {kind.remedy}"
    assert api.get(address).status_code == 200


def test_the_types_of_problems_are_those_there_are() -> None:
    """In the same order."""
    assert [address.removeprefix("/problems/") for address in problems()] == list(PROBLEM_TYPES)
