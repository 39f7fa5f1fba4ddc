"""`/openapi.json` describes the service as it is.

That it does is checked in all tests of this folder too: their client holds every answer against the document.
"""

import json

import httpx
import pytest
import schemathesis

from app.api.problem_types import PROBLEM_TYPES
from bench.server import Server
from tests.integration.answers import PROBLEM, Document, document_of, ended, events_of, lines_of, problem_of
from tests.published import published

METHODS = ("get", "put", "post", "patch", "delete")


@pytest.fixture
def document(api: httpx.Client) -> Document:
    return document_of(api.get("/openapi.json"))


def operations(document: Document) -> dict[str, Document]:
    """The document's operations, by their ids; no two have the same."""
    found = [operation for path in document["paths"].values() for operation in path.values()]
    by_id = {operation["operationId"]: operation for operation in found}
    assert len(by_id) == len(found)
    return by_id


def test_the_document_is_valid_openapi(document: Document) -> None:
    """It follows the OpenAPI 3.1 schema, its own JSON Schemas included."""
    schemathesis.openapi.from_dict(document).validate()


def test_each_operation_says_what_it_is_and_what_it_answers(document: Document) -> None:
    """It has a group, a summary, a description of each parameter, and an answer for success and for each failure."""
    for name, operation in operations(document).items():
        statuses = operation["responses"].keys()
        assert operation["tags"], name
        assert operation["description"], name
        assert any(status < "400" for status in statuses), name
        assert {"400", "422", "431", "500", "503"} <= statuses, name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])


def test_each_failure_is_documented_as_a_problem(document: Document) -> None:
    """Every answer above 399 is a shared one, and that is a problem document."""
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            if status >= "400":
                shared = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
                assert list(shared["content"]) == [PROBLEM], name


def test_the_document_names_the_tasks_there_are(document: Document) -> None:
    """What may be submitted can be seen in it."""
    submission = document["components"]["schemas"]["Submission"]

    assert {"sqrt", "echo", "risky"} <= set(submission["properties"]["task"]["examples"])


def test_result_lines_and_events_are_as_their_documents_have_them(server: Server, mixed: Document) -> None:
    """What streams is described line by line and event by event."""
    told = published(server.url)
    path = "/v1/jobs/{job_id}"
    with server.client() as api:
        body = api.get(f"/v1/jobs/{mixed['id']}/results.jsonl").content
        with api.stream("GET", f"/v1/jobs/{mixed['id']}/events?include=results") as response:
            events = list(events_of(response))

    line = told.content(f"{path}/results.jsonl", "application/jsonl")["x-item-schema"]
    for result in lines_of(body):
        told.check_document(line, result)
    kinds = told.content(f"{path}/events", "text/event-stream")["schema"]["oneOf"]
    data = {kind["properties"]["event"]["const"]: kind["properties"]["data"] for kind in kinds}
    for event in events:
        told.check_document(data[event.name]["contentSchema"], json.loads(event.data))
    assert {event.name for event in events} == {"job", "results", "end"}


def test_what_a_job_asked_for_is_in_its_document(api: httpx.Client) -> None:
    """Every option of the submission's document is one of the Job's, or a member of it; `open` is there as `sealed`."""
    schemas = document_of(api.get("/openapi.json"))["components"]["schemas"]

    shown = schemas["Options"]["properties"].keys() | schemas["Job"]["properties"].keys()
    assert schemas["Submission"]["properties"].keys() - shown == {"items", "open"}


@pytest.mark.parametrize("code", PROBLEM_TYPES)
@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml;q=0.9"])
def test_the_type_of_a_problem_leads_to_its_page(api: httpx.Client, code: str, accept: str) -> None:
    """`/problems/{name}` says what it means and what to do: as text, and to a browser as a page."""
    page = api.get(f"/problems/{code}", headers={"Accept": accept})

    assert page.status_code == 200
    assert ("<h1>" in page.text) == ("html" in accept)
    assert PROBLEM_TYPES[code].means.split("`")[0] in page.text
    assert PROBLEM_TYPES[code].remedy.split("`")[0] in page.text
    assert code in api.get("/problems").text


def test_a_problem_that_does_not_exist_has_no_page(api: httpx.Client) -> None:
    """404, which is a problem too."""
    problem_of(api.get("/problems/no-such-problem"), 404)


def test_a_job_in_error_links_to_its_problem(api: httpx.Client) -> None:
    """The `type` in a Job's `error` has a page as well."""
    body = {"task": "risky", "items": [5] * 1000, "max_failures": 0, "chunksize": 1}
    job = ended(api, document_of(api.post("/v1/jobs", json=body))["id"])

    assert job["status"] == "failed"
    assert api.get(job["error"]["type"]).status_code == 200
