"""HEAD works wherever GET does: the same status and headers, and no body."""

import importlib
import pkgutil

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

import app.api
from tests.integration.answers import Document

ROUTERS = [
    router
    for found in pkgutil.iter_modules(app.api.__path__, "app.api.")
    if isinstance(router := getattr(importlib.import_module(found.name), "router", None), APIRouter)
]
PATHS = sorted(
    route.path
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and "GET" in (route.methods or ())
)
OF_ITS_MOMENT = {"date", "content-length", "etag", "transfer-encoding"}
"""Of this answer and no other, or of its body."""


@pytest.mark.parametrize("path", [*PATHS, "/", "/openapi.json", "/docs", "/jobs/x"])
def test_head_answers_as_get_without_a_body(api: httpx.Client, mixed: Document, path: str) -> None:
    """Status and headers are those of GET, whose body is not even begun."""
    names = {"job_id": mixed["id"], "index": 0, "name": "sqrt", "file_id": f"sha256-{'0' * 64}"}
    place = path.format(**names)

    head = api.head(place)
    with api.stream("GET", place) as get:
        expected = get.headers

    assert head.status_code == get.status_code
    assert head.content == b""
    assert {n: head.headers[n] for n in expected if n not in OF_ITS_MOMENT} == {
        n: expected[n] for n in expected if n not in OF_ITS_MOMENT
    }
