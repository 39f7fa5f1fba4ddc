"""What a request says to the function of its route, found in as few steps as our routes need.

How it works: FastAPI reads from a signature what a route takes, describes that and validates it.  It would look anew,
with every request, for anything that a signature may ask for, which takes longer than most of our routes do.  Ours
ask for the request, for its path and query, and for what other functions make of these; and what a request without a
query says is the same each time.

Invariant: a value is validated, and refused, by FastAPI; a signature that asks for more is no route of ours.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams


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
        self._path = dependant.path_params
        self._query = dependant.query_params
        self._without_query = request_params_to_args(self._query, QueryParams())

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
        said, faults = self._without_query
        if self._query and request.scope["query_string"]:
            said, faults = request_params_to_args(self._query, request.query_params)
        if self._path:
            told, wrong = request_params_to_args(self._path, request.path_params)
            arguments |= told
            faults = wrong + faults
        if faults:
            raise RequestValidationError(faults)
        return await self._function(**arguments, **said)
