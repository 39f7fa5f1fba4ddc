"""`Prefer: handling=strict` and `validate_only=1`: each item is checked before anything is started."""

import json
from typing import Any

import httpx
import pytest

from tests.integration.answers import (
    JSONL,
    Document,
    a_picture,
    an_id,
    document_of,
    ended,
    lines_of,
    problem_of,
    submitted,
)

STRICT = {"Prefer": "handling=strict"}
HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**30, "", "4", "4.0", "nine", "\ud800", "x" * 300),
    *([], [1], [1, 2], [[1]], {}, {"x": 1}, {"x": "1"}, {"x": None}, {"y": 1}, {"x": 1, "y": 2}, {"": ""}),
    *({"seconds": 0}, {"file": "sha256-0"}, {"image": {"file": "x"}}, {"name": "a", "text": "b"}),
]
NOT_JSON = ["nine", "{", "[1,", "NaN", "1 2", '"\\x"', "[" * 3000]


def lines_with(job: Document, api: httpx.Client, kind: str) -> dict[int, str]:
    """The items of the job that failed like this, and what was said of them."""
    results = lines_of(api.get(f"/v1/jobs/{job['id']}/results.jsonl").content)
    return {r["index"]: r["error"]["message"] for r in results if r.get("error", {}).get("kind") == kind}


def test_what_is_refused_is_what_would_fail_as_invalid_input(api: httpx.Client) -> None:
    """For every task that ships, and items of every sort: the same ones, for the same reasons."""
    texts = [*map(json.dumps, HOSTILE), *NOT_JSON]
    body = "\n".join(texts)
    names = [
        task["name"]
        for task in api.get("/v1/tasks").json()["tasks"]
        if not task["name"].startswith(("sleep", "eat", "hang", "spin", "fork", "slow"))
    ]

    for name in names:
        answer = api.post(f"/v1/jobs?task={name}&validate_only=1", content=body, headers=JSONL)
        query = {"task": name, "item_timeout_seconds": 1, "max_attempts": 1}
        job = api.post("/v1/jobs", params=query, content=body, headers=JSONL).raise_for_status().json()
        invalid = lines_with(ended(api, job["id"]), api, "invalid_input")

        if answer.status_code == 200:
            assert invalid == {}, name
            continue
        problem = document_of(answer)
        assert problem["errors_total"] == len(invalid), name
        expected = [{"line": index + 1, "detail": invalid[index][:200]} for index in sorted(invalid)[:20]]
        assert problem["errors"] == expected, name


@pytest.mark.parametrize("headers", [STRICT, {}])
def test_one_wrong_item_refuses_all_of_json(api: httpx.Client, headers: dict[str, str]) -> None:
    """422 points to it, and there is no job; with `validate_only` too."""
    label = an_id()
    query = {} if headers else {"validate_only": "1"}
    body = {"task": "sqrt", "items": [1, "nine", 4, None], "label": label}

    problem = problem_of(api.post("/v1/jobs", params=query, json=body, headers=headers), 422)

    assert problem["errors_total"] == 2
    assert [fault["pointer"] for fault in problem["errors"]] == ["/items/1", "/items/3"]
    assert api.get("/v1/jobs", params={"q": label}).json()["jobs"] == []


def test_lines_are_counted_as_they_stand_in_the_body(api: httpx.Client) -> None:
    """Blank ones too; the first twenty are told, and the number of all."""
    body = "\n\n".join(["1", *(['"x"'] * 5000)]) + "\n"

    answer = api.put(f"/v1/jobs/{an_id()}?task=sqrt", content=body, headers=STRICT)

    problem = document_of(answer)
    assert (answer.status_code, problem["errors_total"]) == (422, 5000)
    assert [fault["line"] for fault in problem["errors"]] == list(range(3, 43, 2))


def test_what_is_refused_leaves_nothing_behind(api: httpx.Client) -> None:
    """Neither its id nor its key is taken."""
    path, key = f"/v1/jobs/{an_id()}?task=sqrt", {"Idempotency-Key": an_id()}
    problem_of(api.put(path, content='"x"\n', headers=STRICT | key), 422)
    assert api.put(f"{path}&validate_only=1", content="1\n", headers=key).status_code == 200

    answer = api.put(path, content="4\n", headers=key | {"Prefer": "handling=strict, wait=20"})

    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "handling=strict, wait=20")
    assert answer.json()["results"][0]["output"] == 2.0


def test_validating_tells_how_many_items_there_are(api: httpx.Client) -> None:
    """And starts nothing; `validate_only=0` submits."""
    path = f"/v1/jobs/{an_id()}"
    query = {"task": "sqrt", "validate_only": "1"}
    body = "1\n" * 20_000

    answer = api.put(path, params=query, content=body)

    assert answer.json() == {"valid": True, "task": "sqrt", "items": 20_000}
    assert api.get(path).status_code == 404
    assert api.put(path, params=query | {"validate_only": "0"}, content=body).status_code == 202


def test_params_count_with_the_items(api: httpx.Client) -> None:
    """What an item leaves out, they supply."""
    body = {"task": "slow_square", "items": [{"seconds": 0}], "params": {"x": 3}}

    assert api.post("/v1/jobs?validate_only=1", json=body).status_code == 200


def test_a_form_is_checked_as_well(api: httpx.Client) -> None:
    """Its files are items like others."""
    files = [("file", ("a.jpg", a_picture("red")))]

    answer = api.post("/v1/jobs", params={"validate_only": "1"}, data={"task": "resize_image"}, files=files)

    assert answer.json() == {"valid": True, "task": "resize_image", "items": 1}


def test_items_are_checked_while_every_worker_is_busy(api: httpx.Client) -> None:
    """A job that keeps them so does not keep a check waiting."""
    job = submitted(api, "slow_square", [{"x": 1, "seconds": 0.005}] * 20_000)

    answer = api.post("/v1/jobs?validate_only=1", json={"task": "sqrt", "items": [1] * 10_000})

    assert answer.json()["items"] == 10_000
    assert api.get(f"/v1/jobs/{job['id']}").json()["status"] == "running"
    api.post(f"/v1/jobs/{job['id']}/cancel?force=1")


@pytest.mark.parametrize(
    ("body", "place"),
    [(b'[4, "nine"]', {"pointer": "/1"}), (b'4\n\n"nine"\n', {"line": 3})],
    ids=["array", "lines"],
)
def test_items_for_an_open_job_are_checked_too(
    api: httpx.Client, body: bytes, place: dict[str, object]
) -> None:
    """All or none of them are appended; where they are right it is said that they were checked."""
    job = submitted(api, "sqrt", [1], open=True)
    headers = STRICT | (JSONL if "line" in place else {"Content-Type": "application/json"})
    address = f"{job['links']['items']}?offset=1"

    problem = problem_of(api.post(address, content=body, headers=headers), 422)
    taken = api.post(address, content=body.replace(b'"nine"', b"9"), headers=headers)
    api.post(job["links"]["seal"])

    assert problem["errors_total"] == 1
    assert problem["errors"][0].items() >= place.items()
    assert document_of(taken) == {"total": 3}
    assert taken.headers["preference-applied"] == "handling=strict"
    assert ended(api, job["id"])["counts"]["succeeded"] == 3
