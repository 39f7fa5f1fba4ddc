"""Headers of a request, each found without a look at the others.

The framework's own are looked through each time, and a dozen are asked for of each request.
"""

from collections.abc import Sequence

from app.api.streaming import Scope

_HEADERS = "millpond.headers"
"""Where the scope of a request holds them, once they were asked for."""


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """What each header says, by its name in lower case; if it is there several times, what the last one says."""
    headers: dict[bytes, bytes] | None = scope.get(_HEADERS)
    if headers is None:
        headers = scope[_HEADERS] = dict(scope["headers"])
    return headers


def header(scope: Scope, name: bytes) -> str | None:
    """The same of one; None if it is not there."""
    value = headers_of(scope).get(name)
    return None if value is None else value.decode("latin-1")


def every(scope: Scope, name: bytes) -> Sequence[bytes]:
    """What all headers of that name say."""
    headers = headers_of(scope)
    if len(headers) == len(scope["headers"]):
        return (headers[name],) if name in headers else ()
    return [value for key, value in scope["headers"] if key == name]
