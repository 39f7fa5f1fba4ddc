"""Bodies, addresses and headers that Hypothesis makes up: never a 500, never a stuck job."""

import json
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.server import Server
from tests.conformance.jobs import none_is_stuck
from tests.conformance.test_schemathesis import BUDGET
from tests.conftest import serving
from tests.integration.answers import client

FUZZ = settings(
    max_examples=200 * BUDGET,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "task",
        "params",
        "chunksize",
        "priority",
        "max_attempts",
        "max_failures",
        "max_in_flight",
        "key_field",
        "label",
        "metadata",
        "retention_seconds",
        "job_timeout_seconds",
        "param.x",
        "follow",
        "validate_only",
        "webhook",
        "q",
        "",
    ]
)
MEDIA_TYPES = st.sampled_from(
    ["application/json", "application/jsonl", "multipart/form-data; boundary=b", "text/plain", ""]
)
HEADERS = st.dictionaries(
    st.sampled_from(["Prefer", "Idempotency-Key", "Range", "If-None-Match", "Last-Event-ID", "Accept"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    max_size=3,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, httpx.Client]]:
    """A service of its own; at the end no job of it is stuck, and its log has no traceback."""
    with serving(tmp_path_factory.mktemp("fuzzed"), tasks="workers.tasks") as server, client(server) as api:
        yield server, api
        none_is_stuck(server)


@FUZZ
@given(
    members=st.dictionaries(NAMES, VALUES, max_size=5), items=st.lists(VALUES, max_size=4), headers=HEADERS
)
def test_any_json_is_taken_or_refused(
    fuzzed: tuple[Server, httpx.Client],
    members: dict[str, object],
    items: list[object],
    headers: dict[str, str],
) -> None:
    """A job, or a problem that is the caller's."""
    body = json.dumps({"task": "square", "items": items} | members)

    answer = fuzzed[1].post("/v1/jobs", content=body, headers={"Content-Type": "application/json"} | headers)

    assert answer.status_code < 500


@FUZZ
@given(
    body=st.binary(max_size=200),
    query=st.dictionaries(NAMES, st.text(max_size=12), max_size=4),
    media_type=MEDIA_TYPES,
    packed=st.booleans(),
)
def test_any_bytes_are_taken_or_refused(
    fuzzed: tuple[Server, httpx.Client], body: bytes, query: dict[str, str], media_type: str, *, packed: bool
) -> None:
    """Whatever they are said to be."""
    headers = {"Content-Type": media_type} | ({"Content-Encoding": "gzip"} if packed else {})

    answer = fuzzed[1].post("/v1/jobs", params={"task": "echo"} | query, content=body, headers=headers)

    assert answer.status_code < 500


@FUZZ
@given(
    path=st.sampled_from(
        ["", "/results", "/results.jsonl", "/items/0", "/events", "/errors", "/inputs.jsonl"]
    ),
    query=st.dictionaries(
        st.sampled_from(["order", "status", "after", "limit", "select", "include", "cursor"]),
        st.text(max_size=8) | st.integers().map(str),
        max_size=3,
    ),
    headers=HEADERS,
)
def test_any_address_is_answered_or_refused(
    fuzzed: tuple[Server, httpx.Client], path: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    """Reads of a finished job, however they are asked for."""
    api = fuzzed[1]
    api.put("/v1/jobs/read?task=sqrt", content=b"1\n4\n", headers={"Prefer": "wait=30"})

    answer = api.get(f"/v1/jobs/read{path}", params=query, headers=headers)

    assert answer.status_code < 500
