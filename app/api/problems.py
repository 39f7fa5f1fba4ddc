"""Every error as `application/problem+json` (RFC 9457), the framework's own included.

Invariant: no answer echoes an input or tells internals; `type` values are stable.
"""

import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Mount
from starlette.types import Scope

from app.api.problem_types import PROBLEM_TYPES
from app.domain import errors
from app.domain.errors import FAULTS_MAX, Fault, Invalid, MillpondError, Unauthorized

MEDIA_TYPE = "application/problem+json"
INSTANCE_CHARS_MAX = 200
_DISK_RETRY_SECONDS = 5

_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}

log = logging.getLogger(__name__)


def problem(
    code: str,
    detail: str,
    instance: str | None = None,
    *,
    faults: Sequence[Fault] = (),
    total: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem answer; of many faults the first twenty are told, and their number, if that is not `total`."""
    status = PROBLEM_TYPES[code].status
    assert status is not None, code
    body: dict[str, Any] = errors.problem(code, detail) | {"status": status}
    if instance is not None:
        body["instance"] = instance[:INSTANCE_CHARS_MAX]
    if faults:
        body["errors"] = [_fault(fault) for fault in faults[:FAULTS_MAX]]
        body["errors_total"] = max(total, len(faults))
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def answer_to(error: MillpondError, instance: str) -> Response:
    """What is told of an error of ours."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    faults, total = (error.faults, error.total) if isinstance(error, Invalid) else ((), 0)
    return problem(error.code, error.detail, instance, faults=faults, total=total, headers=headers)


def place(request: Request) -> str:
    """The path of the request, percent-encoded as it came: a URI reference, as RFC 9457 wants it."""
    path: bytes = request.scope["raw_path"]
    return path.decode("ascii", "replace")


def _fault(fault: Fault) -> dict[str, Any]:
    members = {
        "pointer": fault.pointer,
        "line": fault.line,
        "parameter": fault.parameter,
        "detail": fault.detail,
    }
    return {key: value for key, value in members.items() if value is not None}


def install(app: FastAPI) -> None:
    """Answer every failure of the framework's with a problem."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, _of_bug)


def answer_to_raised(scope: Scope, error: Exception) -> tuple[Response, bool]:
    """What is told of anything that was raised, and whether that may happen: if not, it is to be logged."""
    request = Request(scope)
    for kind in type(error).__mro__:
        if handler := _HANDLERS.get(kind):
            return handler(request, error), True
    return _of_bug(request, error), False


def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, MillpondError)
    if error.code == "internal":
        log.error("%s %s: %s", request.method, request.url.path, error.detail)
    return answer_to(error, place(request))


def _of_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _of_method(request)
    code = _BY_STATUS.get(error.status_code, "bad-request")
    detail = "There is nothing here; /docs lists what there is." if code == "not-found" else str(error.detail)
    return problem(code, detail, place(request), headers=error.headers)


def _of_method(request: Request) -> Response:
    """405, with every method that the resource has (RFC 9110, 15.5.6): a route knows only its own."""
    scope = {"type": "http", "path": request.scope["path"], "root_path": "", "headers": []}
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    methods = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in routes)
    ] or ["GET"]  # files
    if "GET" in methods:
        methods.insert(1, "HEAD")
    allow = ", ".join(methods)
    detail = f"{request.method} is not for this resource, which has {allow}."
    return problem("method-not-allowed", detail, place(request), headers={"Allow": allow})


def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        Fault(entry["msg"].removeprefix("Value error, "), parameter=str(entry["loc"][-1]))
        for entry in error.errors()  # of paths and queries: bodies are read by hand
    ]
    told = "; ".join(f"{fault.parameter}: {fault.detail}" for fault in faults[:3])
    return problem("invalid", f"Not valid: {told}.", place(request), faults=faults)


def _of_disconnect(request: Request, _: Exception) -> Response:
    """The client is gone; nobody reads this."""
    return problem("malformed", "The request body ended before it was complete.", place(request))


def _of_disk(request: Request, error: Exception) -> Response:
    """A file that could not be stored or read."""
    assert isinstance(error, OSError)
    headers = {"Retry-After": str(_DISK_RETRY_SECONDS)}
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        detail = "The disk is full. Nothing was stored; free some space and try again."
        return problem("storage-full", detail, place(request), headers=headers)
    if error.errno in (errno.EIO, errno.EROFS):
        detail = f"The disk fails: {error.strerror}. Nothing was stored; try again."
        return problem("storage-unavailable", detail, place(request), headers=headers)
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return _of_bug(request, error)


def _of_bug(request: Request, _: Exception) -> Response:
    return problem("internal", "Something went wrong here; it has been logged.", place(request))


_HANDLERS: Mapping[type, Callable[[Request, Exception], Response]] = {
    MillpondError: _of_ours,
    HTTPException: _of_starlette,
    RequestValidationError: _of_validation,
    ClientDisconnect: _of_disconnect,
    OSError: _of_disk,
}
