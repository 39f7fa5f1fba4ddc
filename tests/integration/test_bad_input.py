"""A wrong option is named, with what it may be; never a 500, never a hang, never an echo.

The service's log must have no traceback at the end (`serving`), so that no answer here hides one.
"""

import json

import httpx
import pytest

from tests.integration.answers import (
    Document,
    an_id,
    document_of,
    post,
    problem_names,
    problem_of,
    put,
)

DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ('"task":"sqrt"', "/items"),
        ('"items":[1]', "/task"),
        ('"task":5,"items":[1]', "/task"),
        ('"task":"sqrt","items":{"0":1}', "/items"),
        ('"task":"sqrt","items":null', "/items"),
        ('"task":"sqrt","items":"[1]"', "/items"),
        ('"task":"sqrt","items":[1],"items":[2]', "/items"),
        ('"task":"sqrt","items":[1],"\\u0074ask":"echo"', "/task"),
        ('"task":"sqrt","items":[1],"item_timeout_seconds":1e999', "/item_timeout_seconds"),
        (f'"task":"sqrt","items":[1],"max_attempts":{DIGITS}', "/max_attempts"),
        (f'"task":"square","items":[1],"params":{{"x":{DIGITS}}}', "/params"),
        (f'"task":"sqrt","items":[1],"metadata":{{"x":-{DIGITS}}}', "/metadata"),
        ('"task":"sqrt","items":[1],"metadata":{"x":' + "[" * 300 + "]" * 300 + "}", "/metadata"),
        ('"task":"echo","items":[1],"params":{"value":' + "[" * 300 + "]" * 300 + "}", "/params"),
        ('"task":"sqrt","items":[1],"label":"a\\u0000b"', "/label"),
        ('"task":"sqrt","items":[1],"label":"a\\nb"', "/label"),
    ],
    ids=lambda text: text[:60],
)
def test_a_wrong_member_is_named(api: httpx.Client, members: str, place: str) -> None:
    """422, with a pointer to what is missing, twice, out of range or of the wrong type."""
    problem = problem_of(post(api, "{" + members + "}"), 422)

    assert problem_names(problem) == {place}
    assert place in problem["detail"]


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("chunksize", [0, -1, 1.5, "big", True, None, [1], 10**7]),
        ("priority", ["urgent", "", 1, True, None]),
        ("max_attempts", [0, 101, 1.5, "3", True, [1]]),
        ("item_timeout_seconds", [0, -1, "60", True, 1e300, {}]),
        ("job_timeout_seconds", [0, -0.5, "1d", True, 1e300]),
        ("max_failures", [-1, 1.5, "x", "300%", "-3%", "nan%", "%", "1_0%", "\u0663%", True, [1]]),
        ("max_in_flight", [0, -1, "5", 2.5, True]),
        ("retention_seconds", [0, -1, "week", True, 1e300]),
        ("key_field", ["", 1, True, ["id"], "x" * 256]),
        ("label", [1, True, ["x"], "x" * 201]),
        ("metadata", [1, "{}", [1], True, {"x": "y" * 17_000}]),
        ("params", [1, "{}", [1], None, {"y": 1}, {"x": "a"}, {"x": None}, {"x": [1]}, {"": 1}]),
        ("task", [1, None, ["sqrt"], "x" * 201]),
    ],
)
def test_an_option_of_the_wrong_type_or_size_is_named(
    api: httpx.Client, option: str, values: list[object]
) -> None:
    """Each wrong value is 422, points to the option, and says what would be right."""
    for value in values:
        body = {"task": "sqrt", "items": [1], option: value}
        problem = problem_of(post(api, json.dumps(body)), 422)
        assert all(place.startswith(f"/{option}") for place in problem_names(problem)), value
        assert option in problem["detail"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("", "task"),
        ("task=sqrt&wdith=7", "wdith"),
        ("task=sqrt&max_attempts=many", "max_attempts"),
        ("task=sqrt&max_attempts=", "max_attempts"),
        ("task=sqrt&chunksize=0", "chunksize"),
        ("task=sqrt&item_timeout_seconds=nan", "item_timeout_seconds"),
        ("task=sqrt&job_timeout_seconds=inf", "job_timeout_seconds"),
        ("task=sqrt&max_failures=lots", "max_failures"),
        ("task=sqrt&follow=yes", "follow"),
        ("task=sqrt&task=echo", "task"),
        ("task=sqrt&param.x=1&param.x=2", "param.x"),
        ("task=sqrt&params={", "params"),
        ("task=sqrt&params=[1]", "params"),
        ("task=sqrt&params=%7B%22x%22:1e999%7D", "params"),
        ("task=sqrt&metadata=7", "metadata"),
        ("task=sqrt&label=a%00b", "label"),
        ("task=resize_image&param.width=abc", "param.width"),
        ("task=resize_image&param.width=0", "param.width"),
        ("task=resize_image&param.width=1.5", "param.width"),
        ("task=resize_image&param.width=" + DIGITS, "param.width"),
        ("task=resize_image&param.widht=800", "param.widht"),
        ("task=resize_image&param.=1", "param."),
    ],
    ids=lambda text: text[:60],
)
def test_a_wrong_query_parameter_of_a_submission_is_named(api: httpx.Client, query: str, place: str) -> None:
    """422 before the body is read, naming the parameter as it stands in the address."""
    problem = problem_of(put(api, query), 422)

    assert problem_names(problem) == {place}
    assert place in problem["detail"]


@pytest.mark.parametrize("task", ["sqtr", "Sqrt", "sqrt ", "resise_image"])
def test_an_unknown_task_is_answered_with_the_one_that_was_meant(api: httpx.Client, task: str) -> None:
    """In every form of submission."""
    files = {"file": ("a.jpg", b"x")}
    answers = [
        post(api, json.dumps({"task": task, "items": [1]})),
        api.put(f"/v1/jobs/{an_id()}", params={"task": task}, content=b"1"),
        api.post("/v1/jobs", params={"task": task}, files=files),
    ]

    for answer in answers:
        problem = problem_of(answer, 422)
        assert problem["type"] == "/problems/unknown-task"
        assert "Did you mean" in problem["detail"]


def test_options_beside_a_json_body_are_told_where_they_belong(api: httpx.Client) -> None:
    """What is ignored silently would be missed."""
    response = api.post("/v1/jobs?label=x", json={"task": "sqrt", "items": [1]})

    assert problem_names(problem_of(response, 422)) == {"label"}


SECRET = "correct-horse-battery-staple" * 400


def test_a_problem_does_not_echo_what_was_sent(api: httpx.Client) -> None:
    """However long the wrong thing is, the answer stays short; a wrong value is not in it at all."""
    values = [
        post(api, json.dumps({"task": "sqrt", "items": [1], "params": {"x": SECRET}})),
        post(api, json.dumps({"task": "sqrt", "items": [1], "label": SECRET})),
        post(api, json.dumps({"task": "sqrt", "items": SECRET})),
        post(api, json.dumps({"task": "sqrt", "items": [1], "metadata": SECRET})),
        post(api, f'{{"task":"sqrt","items":[{SECRET}]}}'),
        put(api, f"task=sqrt&param.x={SECRET}"),
        put(api, f"task=sqrt&params={SECRET}"),
        api.get("/v1/jobs", params={"cursor": SECRET}),
        post(api, '{"task":"sqrt","items":[1]}', **{"Idempotency-Key": SECRET}),
    ]
    names = [
        post(api, json.dumps({"task": SECRET, "items": [1]})),
        post(api, json.dumps({"task": "sqrt", "items": [1], SECRET: 1})),
        post(api, f'{{"task":"sqrt","items":[1],"{SECRET}":1,"{SECRET}":2}}'),
        post(api, json.dumps({"task": "sqrt", "items": [1], "params": {SECRET: 1}})),
        put(api, f"task=sqrt&{SECRET}=1"),
        put(api, f"task={SECRET[:150]}"),
        api.get(f"/v1/jobs/{SECRET}"),
        api.get(f"/v1/tasks/{SECRET}"),
        api.get(f"/{SECRET}"),
    ]

    for answer in values + names:
        problem_of(answer, answer.status_code)
        assert 400 <= answer.status_code < 500
    for answer in values:
        assert "correct-horse" not in answer.text


def test_many_faults_are_told_at_once_and_counted(api: httpx.Client) -> None:
    """Every wrong option is in `errors`, at most twenty of them, and `errors_total` says how many there are."""
    wrong = {f"option{n}": n for n in range(30)}

    problem = problem_of_many(post(api, json.dumps({"task": "sqrt", "items": [1], **wrong})))

    assert len(problem["errors"]) == 20
    assert problem["errors_total"] == 30


def problem_of_many(response: httpx.Response) -> Document:
    """As `problem_of`, of twenty faults: each says what there is instead."""
    assert response.status_code == 422
    return document_of(response)


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/v1/pool/cpu"), ("PATCH", "/v1/jobs/JOB"), ("POST", "/v1/session")]
)
def test_a_body_of_very_many_members_is_refused_as_one(api: httpx.Client, method: str, path: str) -> None:
    """To find fault with each of thousands would take as long as all else that a request asks for."""
    job = document_of(post(api, '{"task":"sqrt","items":[],"open":true}'))
    body = json.dumps({f"m{number}": 1 for number in range(51)})
    answer = api.request(
        method, path.replace("JOB", job["id"]), content=body, headers={"Content-Type": "application/json"}
    )

    problem = problem_of(answer, 422)
    assert "errors" not in problem
    assert "51 members" in problem["detail"]
    api.post(f"{job['links']['self']}/cancel").raise_for_status()
