"""`Range` requests (RFC 9110, 14) and entity tags, for bodies that do not change any more."""

import re
from collections.abc import Mapping

from fastapi import Request, Response

from app.api.problems import place, problem

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*")


def known(request: Request, etag: str) -> bool:
    """Whether the client has what has this tag already, by the weak comparison (RFC 9110, 8.8.3.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in tags or "*" in tags


def wanted(request: Request, etag: str, size: int) -> range | None:
    """The bytes that `Range` asks for; None for all of them, empty if there are none such.

    Several ranges, other units, or an `If-Range` with another tag get everything, as the RFC allows.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def unsatisfiable(request: Request, size: int, headers: Mapping[str, str]) -> Response:
    """416: there are no such bytes."""
    detail = f"There are {size} bytes; ask for some of them, like Range: bytes=0-99."
    whole = {"Content-Range": f"bytes */{size}"}
    return problem("range-not-satisfiable", detail, place(request), headers=dict(headers) | whole)
