"""The forms, headers, result parameters, failures and events of docs/api.md: a check for each row."""

import gzip
import json
from collections.abc import Callable

import httpx
import pytest

from bench.server import Server
from tests.conformance.document import Row, table
from tests.integration.answers import (
    JSONL,
    MIXED,
    WAIT,
    Document,
    an_id,
    document_of,
    ended,
    events_of,
    lines_of,
    problem_of,
    put,
    ran,
    submitted,
)
from tests.published import published

FORMS, HEADERS, PARAMETERS = table("form"), table("header"), table("parameter")
KINDS, EVENTS = table("kind of error"), table("event")

Check = Callable[[httpx.Client, Document], None]
CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """This function checks the row of that name; it gets a client, and a finished job with failures."""

    def register(function: Check) -> Check:
        assert name not in CHECKS
        CHECKS[name] = function
        return function

    return register


@pytest.mark.parametrize("row", [*FORMS, *HEADERS, *PARAMETERS], ids=lambda row: row.name)
def test_a_row_is_so(api: httpx.Client, mixed: Document, row: Row) -> None:
    """The row's own check holds."""
    CHECKS[row.name](api, mixed)


def test_each_check_has_a_row() -> None:
    """What is checked is documented."""
    assert {row.name for row in (*FORMS, *HEADERS, *PARAMETERS)} == CHECKS.keys()


@check("JSON")
def _(api: httpx.Client, _: Document) -> None:
    assert [line["output"] for line in ran(api, "echo", [{"a": [1]}, None, "x"])] == [{"a": [1]}, None, "x"]


@check("JSON lines")
def _(api: httpx.Client, _: Document) -> None:
    for headers in (JSONL, {"Content-Type": "application/x-ndjson"}, {}):
        job = document_of(put(api, "task=echo&label=x", b"1\n\n \n2", **headers, **WAIT))
        assert [line["output"] for line in job["results"]] == [1, 2]
        assert job["label"] == "x"


@check("form")
def _(api: httpx.Client, _: Document) -> None:
    files = [("file", ("a.csv", b"k,v\na,1\n")), ("file", ("b.csv", b"k,v\na,2\n"))]
    fields = {"task": "aggregate_csv", "param.by": "k", "param.value": "v"}
    job = document_of(api.post("/v1/jobs", data=fields, files=files, headers=WAIT))
    assert job["counts"]["succeeded"] == 2


@check("gzip")
def _(api: httpx.Client, _: Document) -> None:
    packed = {"Content-Encoding": "gzip"} | WAIT
    lines = document_of(put(api, "task=echo", gzip.compress(b"1\n2\n"), **packed))
    body = gzip.compress(b'{"task":"echo","items":[1,2]}')
    members = document_of(
        api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"} | packed)
    )
    assert [line["output"] for line in lines["results"]] == [1, 2]
    assert [line["output"] for line in members["results"]] == [1, 2]


@check("nothing")
def _(api: httpx.Client, _: Document) -> None:
    for job in (put(api, "task=echo", b""), api.post("/v1/jobs", json={"task": "echo", "items": []})):
        assert job.status_code == 200
        assert (job.json()["status"], job.json()["counts"]["total"]) == ("completed", 0)


@check("Prefer: wait=N")
def _(api: httpx.Client, mixed: Document) -> None:
    answer = api.post("/v1/jobs", json={"task": "sqrt", "items": [4, 1]}, headers=WAIT)
    assert answer.status_code == 200
    assert [line["output"] for line in answer.json()["results"]] == [2.0, 1.0]
    read = api.get(f"/v1/jobs/{mixed['id']}", headers=WAIT).json()
    assert [line["index"] for line in read["results"]] == list(range(len(MIXED)))


@check("Prefer: handling=strict")
def _(api: httpx.Client, _: Document) -> None:
    strict = {"Prefer": "handling=strict"}
    body = b'1\n\n"x"\n'
    problem = problem_of(put(api, "task=sqrt", body, **strict), 422)
    assert [fault["line"] for fault in problem["errors"]] == [3]
    json_body = {"task": "sqrt", "items": [1, "x"]}
    problem = problem_of(api.post("/v1/jobs", json=json_body, headers=strict), 422)
    assert [fault["pointer"] for fault in problem["errors"]] == ["/items/1"]
    taken = put(api, "task=sqrt", b"1\n", **strict)
    assert (taken.status_code, taken.headers["preference-applied"]) == (202, "handling=strict")


@check("Preference-Applied")
def _(api: httpx.Client, mixed: Document) -> None:
    path = f"/v1/jobs/{mixed['id']}"
    assert api.get(path, headers={"Prefer": "wait=7"}).headers["preference-applied"] == "wait=7"
    assert "preference-applied" not in api.get(path, headers={"Prefer": "respond-async"}).headers


@check("Idempotency-Key")
def _(api: httpx.Client, _: Document) -> None:
    key = {"Idempotency-Key": an_id()}
    first, second = (api.post("/v1/jobs", json={"task": "sqrt", "items": [1]}, headers=key) for _ in range(2))
    quoted = {"Idempotency-Key": f'"{key["Idempotency-Key"]}"'}
    assert first.json()["id"] == second.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    problem_of(api.post("/v1/jobs", json={"task": "sqrt", "items": [2]}, headers=quoted), 422)


@check("Location")
def _(api: httpx.Client, _: Document) -> None:
    job = api.post("/v1/jobs", json={"task": "sqrt", "items": [1]})
    followed = api.post("/v1/jobs?task=sqrt&follow=1", content="1\n", headers=JSONL)
    file = api.post("/v1/files", content=b"x")
    assert job.headers["location"] == f"/v1/jobs/{job.json()['id']}"
    assert api.get(followed.headers["location"]).json()["task"] == "sqrt"
    assert file.headers["location"] == f"/v1/files/{file.json()['file']}"


@check("ETag, If-None-Match")
def _(api: httpx.Client, mixed: Document) -> None:
    file = api.post("/v1/files", content=b"tagged").headers["location"]
    for path in (f"/v1/jobs/{mixed['id']}", f"/v1/jobs/{mixed['id']}/results.jsonl", file):
        tag = api.get(path).headers["etag"]
        for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = api.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert api.get(path, headers={"If-None-Match": f'{tag[:-2]}"'}).status_code == 200


@check("Retry-After")
def _(api: httpx.Client, mixed: Document) -> None:
    job = submitted(api, "sleep_for", [60])
    assert 1 <= int(api.get(f"/v1/jobs/{job['id']}").headers["retry-after"]) <= 60
    api.post(f"/v1/jobs/{job['id']}/cancel?force=1")
    assert "retry-after" not in api.get(f"/v1/jobs/{mixed['id']}").headers


@check("Link")
def _(api: httpx.Client, mixed: Document) -> None:
    page = api.get(f"/v1/jobs/{mixed['id']}/results?limit=39")
    last = api.get(page.links["next"]["url"])
    assert len(last.json()["results"]) == 1
    assert last.json()["complete"]
    assert "link" not in last.headers
    jobs = api.get("/v1/jobs?limit=1")
    assert api.get(jobs.links["next"]["url"]).json()["jobs"][0]["id"] != jobs.json()["jobs"][0]["id"]


@check("Range, If-Range")
def _(api: httpx.Client, mixed: Document) -> None:
    file = api.post("/v1/files", content=b"0123456789").headers["location"]
    for path in (f"/v1/jobs/{mixed['id']}/results.jsonl", file):
        whole = api.get(path)
        part = api.get(path, headers={"Range": "bytes=3-6"})
        assert (part.status_code, part.content) == (206, whole.content[3:7])
        assert part.headers["content-range"] == f"bytes 3-6/{len(whole.content)}"
        other = api.get(path, headers={"Range": "bytes=3-6", "If-Range": '"other"'})
        assert (other.status_code, other.content) == (200, whole.content)
        assert api.get(path, headers={"Range": "bytes=999999-"}).headers["content-range"] == (
            f"bytes */{len(whole.content)}"
        )


@check("Accept")
def _(api: httpx.Client, mixed: Document) -> None:
    path = f"/v1/jobs/{mixed['id']}/results.jsonl"
    for accept, told in (
        ("*/*", "application/jsonl"),
        ("application/jsonl", "application/jsonl"),
        ("application/x-ndjson", "application/x-ndjson"),
    ):
        assert api.get(path, headers={"Accept": accept}).headers["content-type"] == told


@check("Allow")
def _(api: httpx.Client, _: Document) -> None:
    assert set(api.post("/v1/tasks").headers["allow"].split(", ")) == {"GET", "HEAD"}


@check("Last-Event-ID")
def _(api: httpx.Client, mixed: Document) -> None:
    path = f"/v1/jobs/{mixed['id']}/events?include=results&after=1"
    with api.stream("GET", path, headers={"Last-Event-ID": "30"}) as response:
        lines = [line for event in events_of(response) if event.name == "results" for line in event.lines]
    assert len(lines) == 10
    assert api.get(path, headers={"Last-Event-ID": "40"}).status_code == 204


@check("order")
def _(api: httpx.Client, mixed: Document) -> None:
    ordered = lines_of(api.get(f"/v1/jobs/{mixed['id']}/results.jsonl?order=index").content)
    assert [line["index"] for line in ordered] == list(range(40))


@check("status")
def _(api: httpx.Client, mixed: Document) -> None:
    for status, number in (("failed", 10), ("succeeded", 30)):
        page = api.get(f"/v1/jobs/{mixed['id']}/results?status={status}").json()
        assert (len(page["results"]), page["next_after"]) == (number, number)


@check("after")
def _(api: httpx.Client, mixed: Document) -> None:
    path = f"/v1/jobs/{mixed['id']}/results.jsonl"
    assert api.get(f"{path}?after=7").content == b"".join(api.get(path).content.splitlines(True)[7:])


@check("limit")
def _(api: httpx.Client, mixed: Document) -> None:
    page = api.get(f"/v1/jobs/{mixed['id']}/results?limit=3&after=2").json()
    assert (page["after"], page["next_after"], page["complete"]) == (2, 5, False)


@check("wait")
def _(api: httpx.Client, _: Document) -> None:
    job = submitted(api, "slow_square", [{"x": 3, "seconds": 0.1}])
    assert api.get(f"/v1/jobs/{job['id']}/results?wait=20").json()["results"][0]["output"] == 9


@check("follow")
def _(api: httpx.Client, _: Document) -> None:
    answer = put(api, "task=slow_square&follow=1&param.seconds=0.05", b"1\n2\n")
    assert {line["output"] for line in lines_of(answer.content)} == {1, 4}


@check("validate_only")
def _(api: httpx.Client, _: Document) -> None:
    path = f"/v1/jobs/{an_id()}"
    answer = api.put(f"{path}?task=sqrt&validate_only=1", content=b"1\n4\n9\n")
    assert (answer.status_code, answer.json()) == (200, {"valid": True, "task": "sqrt", "items": 3})
    problem_of(api.put(f"{path}?task=sqrt&validate_only=1", content=b"x\n"), 422)
    assert api.get(path).status_code == 404


FAILING: dict[str, tuple[str, object, Document]] = {
    "exception": ("risky", {"x": 5}, {}),
    "timeout": ("sleep_for", 30, {"item_timeout_seconds": 0.1}),
    "crashed": ("segfault", {}, {}),
    "out_of_memory": ("eat_memory", 1 << 24, {}),
    "invalid_input": ("sqrt", "nine", {}),
    "invalid_output": ("unserializable", {}, {}),
    "too_large": ("long_output", 65, {}),
}


@pytest.mark.parametrize("row", KINDS, ids=lambda row: row.name)
def test_an_item_fails_as_its_row_says(api: httpx.Client, row: Row) -> None:
    """The kind of error is brought about, and its item alone fails."""
    if row.name in ("too_large", "out_of_memory"):
        pytest.skip("brought about in tests/integration/test_faults.py and tests/unit/test_memory.py")
    task, item, options = FAILING[row.name]

    assert ran(api, task, [item], **options)[0]["error"]["kind"] == row.name


def test_the_rows_are_the_kinds_of_failure(server: Server) -> None:
    """And those of the OpenAPI document."""
    schema = published(server.url).schemas["ItemError"]["properties"]["kind"]

    assert [row.name for row in KINDS] == schema["enum"] == list(FAILING)


def test_the_rows_are_the_events(api: httpx.Client) -> None:
    """A job followed from its start shows each of them, with the data that its row names, and `end` last."""
    job = submitted(api, "slow_square", [{"x": n, "seconds": 0.3} for n in range(6)])
    with api.stream("GET", f"/v1/jobs/{job['id']}/events?include=results") as response:
        events = list(events_of(response))

    assert {event.name for event in events} == {row.name for row in EVENTS}
    assert (events[0].name, events[-1].name, events[-1].id) == ("job", "end", "6")
    told = next(row for row in EVENTS if row.name == "progress").codes("data")
    assert all(list(json.loads(event.data)) == told for event in events if event.name == "progress")
    assert ended(api, job["id"])["status"] == "completed"
