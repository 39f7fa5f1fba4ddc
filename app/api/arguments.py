"""What a request says to the function of its route, found in as few steps as our routes need.

How it works: FastAPI reads from a signature what a route takes, describes that and validates it.  It would look anew,
with every request, for anything that a signature may ask for, which takes longer than most of our routes do.  Ours
ask for the request, for plain values in its path and query, and for what other functions make of these.

Invariant: a value is validated, and refused, by FastAPI; a signature that asks for more is no route of ours.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams

from app.domain.errors import Malformed

_PAIRS = "millpond.query"
"""Where the scope of a request holds the parameters of its query, once they were asked for."""

Pairs = Sequence[tuple[str, str]]


def pairs(request: Request) -> Pairs:
    """The parameters of the query in their order; Malformed if they are not UTF-8."""
    if not request.scope["query_string"]:
        return ()
    found: Pairs | None = request.scope.get(_PAIRS)
    if found is None:
        found = request.scope[_PAIRS] = parsed(request.scope["query_string"])
    return found


def parsed(query: bytes) -> Pairs:
    """The parameters that the query string of an address is."""
    try:
        text = query.decode("ascii")
        if "%" not in text and "+" not in text:  # nothing to undo, as mostly
            return [
                (name, value) for name, _, value in [pair.partition("=") for pair in text.split("&") if pair]
            ]
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Malformed("The query string is not UTF-8, percent-encoded.") from None


class _Parameters:
    """Those of a path, or of a query."""

    def __init__(self, fields: Sequence[Any]) -> None:
        self._fields = fields
        assert not any(field_annotation_is_sequence(field.field_info.annotation) for field in fields)
        self._each = [(field.name, field.validation_alias or field.alias, field.validate) for field in fields]
        self._defaults, _ = request_params_to_args(fields, QueryParams())

    def read(self, given: Mapping[str, str]) -> tuple[dict[str, Any], list[Any]]:
        """Their values, by the names of the signature, and what is wrong with them."""
        values = dict(self._defaults)
        for name, alias, validate in self._each:
            if (text := given.get(alias)) is not None:
                value, faults = validate(text)
                if faults:
                    break
                values[name] = value
        else:
            if len(values) == len(self._each):
                return values, []
        return request_params_to_args(self._fields, given)


class Called:
    """A function that is called with what its signature asks a request for."""

    def __init__(self, dependant: Dependant) -> None:
        assert inspect.iscoroutinefunction(dependant.call), f"{dependant.call}: must be a coroutine function"
        others = [*dependant.header_params, *dependant.cookie_params, *dependant.body_params]
        assert not others, f"{dependant.call}: headers, cookies and bodies are read from the request"
        self._function = dependant.call
        self._needed: dict[str, Callable[[Request], Awaitable[Any]]] = {}
        for needed in dependant.dependencies:
            assert needed.name, f"{dependant.call}: what it depends on is one of its parameters"
            self._needed[needed.name] = Called(needed).shortest
        self._request_name = dependant.request_param_name
        self._path = _Parameters(dependant.path_params) if dependant.path_params else None
        self._query = _Parameters(dependant.query_params) if dependant.query_params else None

    @property
    def shortest(self) -> Callable[[Request], Awaitable[Any]]:
        """The function itself, if the request is all that it asks for."""
        more = self._needed or self._path or self._query or self._request_name is None
        return self if more else self._function

    async def __call__(self, request: Request) -> Any:
        """What the function returns.  RequestValidationError naming each parameter that is wrong."""
        arguments: dict[str, Any] = {}
        for name, needed in self._needed.items():
            arguments[name] = await needed(request)
        if self._request_name is not None:
            arguments[self._request_name] = request
        faults: list[Any] = []
        if self._path is not None:
            told, faults = self._path.read(request.path_params)
            arguments |= told
        if self._query is not None:
            said, wrong = self._query.read(dict(pairs(request)))
            arguments |= said
            faults = faults + wrong
        if faults:
            raise RequestValidationError(faults)
        return await self._function(**arguments)
