"""The OpenAPI document, completed by what the framework cannot know of routes that write bytes.

How it works: routes say what they answer in the words of this module; the models are in `models` and
`service_models`.  What holds everywhere is added when the document is made: the problems that any request may meet,
who may ask, the tasks there are.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from app.api import models, service_models
from app.api.gate import COOKIE, is_open, needed
from app.api.problem_types import PROBLEM_TYPES
from app.api.schemas import SubmitOptions
from app.domain.caller import Role

Responses = dict[int | str, dict[str, Any]]

REFERENCE = "#/components/schemas/{model}"
EVERYWHERE = (400, 422, 431, 500, 503)
"""What any request may be answered."""

HEADERS: Mapping[str, str] = {
    "Allow": "the methods that the resource has",
    "Accept-Ranges": "that `Range` works",
    "Content-Disposition": "the name to save it under",
    "Content-Range": "which bytes these are, of how many",
    "ETag": "changes when this does; send it back in `If-None-Match`",
    "Idempotent-Replayed": "`true` if an earlier request with this key made the job",
    "Link": 'where the next page is: `rel="next"`',
    "Location": "where what was made is",
    "Preference-Applied": "which of the preferences were honoured (RFC 7240)",
    "Set-Cookie": "the session",
    "Retry-After": "seconds after which it is worth asking again",
    "WWW-Authenticate": "how to say who you are",
}
_PROBLEM_HEADERS: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    416: ("Content-Range",),
    429: ("Retry-After",),
    503: ("Retry-After",),
    507: ("Retry-After",),
}
_KEY = "An API key, which the operator makes with `python -m app key add`."
_SESSION = "For browsers: `POST /v1/session` with a key sets it."

JSONL = "application/jsonl"
JSONL_TYPES = (JSONL, "application/x-ndjson")
SSE = "text/event-stream"
TEXT: Mapping[str, Any] = {"text/plain": {"schema": {"type": "string"}}}


# -- The words that routes use


def reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def returns(
    description: str,
    model: type[BaseModel] | None = None,
    *,
    headers: Sequence[str] = (),
    content: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One answer of a route: a JSON document, or other `content`, or nothing."""
    told: dict[str, Any] = {"description": description}
    if headers:
        told["headers"] = {
            name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in headers
        }
    if model is not None or content:
        json = {"application/json": {"schema": reference(model)}} if model is not None else {}
        told["content"] = {**json, **(content or {})}
    return told


def lines(model: type[BaseModel] | None) -> dict[str, Any]:
    """JSON lines as content, which generated clients are to take as bytes: each line is such a document, or any."""
    item_schema = reference(model) if model is not None else {}
    told = {"schema": {"type": "string", "format": "binary"}, "x-item-schema": item_schema}
    return dict.fromkeys(JSONL_TYPES, told)


def events(models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Server-sent events as content: by the event's name, what its data is.

    The schema is that of one event, as is usual before OpenAPI 3.2.
    """
    kinds = [
        {
            "type": "object",
            "required": ["event", "id", "data"],
            "properties": {
                "event": {"const": name},
                "id": {"type": "string", "description": "the cursor after it"},
                "retry": {"type": "integer", "description": "milliseconds before a reconnection"},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": reference(model),
                },
            },
        }
        for name, model in models.items()
    ]
    return {SSE: {"schema": {"oneOf": kinds}}}


def problems(*statuses: int) -> Responses:
    """The problems that a route may answer with, besides those `EVERYWHERE`."""
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """A request header that a route reads."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def parameter(name: str, description: str) -> dict[str, Any]:
    """A parameter of the address that a route, or the gate, reads by hand."""
    return header(name, description) | {"in": "query"}


def option_parameters() -> list[dict[str, Any]]:
    """The options of a submission as parameters of its address.

    They have no defaults here, which generated clients would send beside a JSON body, where options are refused;
    and `params` is told of in words, as such a client may use that name itself (openapi-python-client does).
    """
    properties = SubmitOptions.model_json_schema(ref_template=REFERENCE)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": _JSON_TEXT
            if name == "metadata"
            else {key: schema[key] for key in schema if key not in ("title", "description", "default")},
        }
        for name, schema in properties.items()
        if name != "params"
    ]


_JSON_TEXT = {"type": "string", "contentMediaType": "application/json"}


# -- The document


def install(app: FastAPI, tasks: Callable[[], Iterable[str]]) -> None:
    """Publish the document, made once there are tasks to name.

    That takes a tenth of a second of Python, most of it to read the routes (`query.Exact`), so a thread does it, which
    others interrupt; to make it at the start would delay that.
    """
    made: list[bytes] = []

    async def published(_: Request) -> Response:
        text = made[0] if made else await asyncio.to_thread(make)
        return Response(text, media_type="application/json")

    def make() -> bytes:
        names = list(tasks())
        text = msgspec.json.encode(document(app, names))
        if names:
            made.append(text)
        return text

    url = app.openapi_url
    assert url is not None
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) != url]
    app.add_route(url, published, include_in_schema=False)


def document(app: FastAPI, tasks: Iterable[str]) -> dict[str, Any]:
    """The whole of it, for a service with these tasks."""
    told = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=_TAGS
    )
    components = told.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for needless in ("HTTPValidationError", "ValidationError"):
        schemas.pop(needless, None)
    schemas.update(_schemas())
    schemas["Submission"]["properties"]["task"]["examples"] = list(tasks)
    components["responses"] = {
        f"Problem{status}": _problem_response(status)
        for status in sorted({kind.status for kind in PROBLEM_TYPES.values() if kind.status})
    }
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": _KEY},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": _SESSION},
    }
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            _complete(operation)
            if not is_open(method.upper(), path):
                _secure(operation, needed(method.upper(), path))
    return told


def _complete(operation: dict[str, Any]) -> None:
    """Add what holds for every route."""
    responses = operation["responses"]
    responses.update({str(status): response for status, response in problems(*EVERYWHERE).items()})
    if "422" in responses and "$ref" not in responses["422"]:  # the framework's own
        responses["422"] = problems(422)[422]
    for status, response in responses.items():
        if "$ref" in response:
            responses[status] = {"$ref": response["$ref"]}
    operation["responses"] = dict(sorted(responses.items()))


def _secure(operation: dict[str, Any], role: Role) -> None:
    """Say what it takes to be let in; the empty alternative is for services without keys."""
    operation["security"] = [{"key": []}, {"session": []}, {}]
    operation["description"] += f"\n\nTakes the role `{role}`."
    operation["responses"].update({str(status): told for status, told in problems(401, 403).items()})
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _problem_response(status: int) -> dict[str, Any]:
    means = [f"`{code}`: {kind.means}" for code, kind in PROBLEM_TYPES.items() if kind.status == status]
    return returns(
        f"{HTTPStatus(status).phrase}. {' '.join(means)}",
        headers=_PROBLEM_HEADERS.get(status, ()),
        content={"application/problem+json": {"schema": reference(models.Problem)}},
    )


class _Schemas(GenerateJsonSchema):
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is models.ABSENT:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def _schemas() -> dict[str, Any]:
    """Every model of an answer or a body, by name."""
    published = [
        value
        for value in (vars(models) | vars(service_models)).values()
        if isinstance(value, type)
        and issubclass(value, BaseModel)
        and value not in (BaseModel, models.Described)
    ]
    _, made = models_json_schema(
        [(model, "validation") for model in published], ref_template=REFERENCE, schema_generator=_Schemas
    )
    definitions: dict[str, Any] = made["$defs"]
    return definitions


_TAGS = [
    {"name": "jobs", "description": "Submit, look, change, cancel, delete."},
    {"name": "results", "description": "What came of the items, in pages, as JSON lines or as events."},
    {"name": "files", "description": "Large inputs and outputs."},
    {"name": "tasks", "description": "What can be run."},
    {"name": "pool", "description": "What runs it."},
    {"name": "callers", "description": "Who you are."},
    {"name": "service", "description": "Whether it works, and what its problems mean."},
]
