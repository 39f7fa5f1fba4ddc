"""Small JSON documents: bodies that change something, read whole, and answers."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response
from pydantic import BaseModel

from app.api import body
from app.api.schemas import parsed
from app.domain.errors import Invalid, Malformed, WrongMediaType
from app.domain.not_json import why

DOCUMENT_BYTES_MAX = 64 << 10
MEMBERS_MAX = 50
"""Of thousands, each would be found fault with."""
M = TypeVar("M", bound=BaseModel)


def described(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The request body of a route that reads such a document, for OpenAPI."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


async def read(request: Request, model: type[M]) -> M:
    """The document in the body; an empty body is an empty object.

    WrongMediaType, TooLarge, Malformed, or Invalid naming each member that is wrong.
    """
    data = await body.read(request, DOCUMENT_BYTES_MAX, "Send what is to be changed, and nothing else.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and (data or media_type):
        raise WrongMediaType("This is sent as application/json; use curl --json, or set Content-Type.")
    return parsed(model, _members(data or b"{}"), of_query=False)


def answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The document as an answer."""
    return Response(msgspec.json.encode(document), status, headers, "application/json")


def _members(data: bytes) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.ValidationError:
        raise Malformed("The body must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not JSON: {why(error, data)}.") from None
    if len(members) > MEMBERS_MAX:
        raise Invalid(f"The body has {len(members)} members; {MEMBERS_MAX} at most are read.")
    return members
