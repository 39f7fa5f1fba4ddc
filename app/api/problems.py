"""Every error as `application/problem+json` (RFC 9457), the framework's own included.

Invariant: no answer echoes an input or tells internals; `type` values are stable.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.domain.errors import Fault, Invalid, MillpondError

MEDIA_TYPE = "application/problem+json"
FAULTS_MAX = 20

STATUS: Mapping[str, int] = {
    "bad-request": 400,
    "malformed": 400,
    "not-found": 404,
    "method-not-allowed": 405,
    "conflict": 409,
    "gone": 410,
    "too-large": 413,
    "unsupported-media-type": 415,
    "range-not-satisfiable": 416,
    "invalid": 422,
    "unknown-task": 422,
    "over-quota": 429,
    "internal": 500,
    "unavailable": 503,
    "storage-full": 507,
}
TITLES: Mapping[str, str] = {
    "malformed": "Malformed request",
    "invalid": "Invalid request",
    "unknown-task": "Unknown task",
    "over-quota": "Over quota",
    "storage-full": "Disk full",
}
_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}

log = logging.getLogger(__name__)


def problem(
    code: str,
    detail: str,
    instance: str,
    *,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem answer; of many faults the first twenty are told, and their number."""
    status = STATUS[code]
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": TITLES.get(code) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
    }
    if faults:
        body["errors"] = [_fault(fault) for fault in faults[:FAULTS_MAX]]
        body["errors_total"] = len(faults)
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def _fault(fault: Fault) -> dict[str, Any]:
    members = {
        "pointer": fault.pointer,
        "line": fault.line,
        "parameter": fault.parameter,
        "detail": fault.detail,
    }
    return {key: value for key, value in members.items() if value is not None}


def install(app: FastAPI) -> None:
    """Answer every failure of the app with a problem."""
    app.add_exception_handler(MillpondError, _of_ours)
    app.add_exception_handler(HTTPException, _of_starlette)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(ClientDisconnect, _of_disconnect)
    app.add_exception_handler(Exception, _of_bug)


def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, MillpondError)
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if STATUS[error.code] == 500:
        log.error("%s %s: %s", request.method, request.url.path, error.detail)
    faults = error.faults if isinstance(error, Invalid) else ()
    return problem(error.code, error.detail, request.url.path, faults=faults, headers=headers)


def _of_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _BY_STATUS.get(error.status_code, "bad-request")
    detail = {
        "not-found": "There is nothing here; /docs lists what there is.",
        "method-not-allowed": f"{request.method} is not for this resource.",
    }.get(code, str(error.detail))
    return problem(code, detail, request.url.path, headers=error.headers)


def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        Fault(entry["msg"], parameter=str(entry["loc"][-1]))
        if entry["loc"][0] in ("query", "header", "path")
        else Fault(entry["msg"], pointer="".join(f"/{part}" for part in entry["loc"][1:]))
        for entry in error.errors()
    ]
    named = ", ".join(sorted({fault.parameter or fault.pointer or "body" for fault in faults}))
    return problem("invalid", f"Not valid: {named}.", request.url.path, faults=faults)


def _of_disconnect(request: Request, _: Exception) -> Response:
    """The client is gone; nobody reads this."""
    return problem("malformed", "The request body ended before it was complete.", request.url.path)


def _of_bug(request: Request, _: Exception) -> Response:
    return problem("internal", "Something went wrong here; it has been logged.", request.url.path)
