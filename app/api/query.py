"""What an address says after its `?`: parameters that its route knows, each once.

How it works: a route of the class `Exact` knows its parameters from its signature and from what it tells OpenAPI about
them, and checks those of a request before anything else does.  A request without parameters costs nothing.

Invariant: no parameter is ignored: a misspelt one would silently get its default.  At most `PARAMETERS_MAX` are looked
at: an address may be as long as its line, and thousands of parameters would hold the event loop.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from app.api.arguments import Called, pairs
from app.domain.errors import Fault, Invalid, shown

FURTHER = "x-further-parameters"
"""Where a route says in OpenAPI which further parameters it takes: a pattern of names, by how a reader is told them."""

PARAMETERS_MAX = 100

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Exact(APIRoute):
    """A route that refuses parameters it does not know, and makes its own answer.

    OpenAPI knows it by the name of its function.  Until somebody asks for it, or for what describes it, only what it
    takes to find it is there: to read all signatures at the start would delay that.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._options = options | {"operation_id": endpoint.__name__, "response_class": Response}
        self.path, self.endpoint, self.methods = path, endpoint, set(options["methods"])
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)

    def __getattr__(self, name: str) -> Any:
        """What is not there yet.  Two threads that both come to it make the same twice."""
        if name != "_options" and "app" not in vars(self):  # which is made last
            super().__init__(self.path, self.endpoint, **self._options)
        if name in vars(self):
            return vars(self)[name]
        raise AttributeError(name)

    def get_route_handler(self) -> Handler:
        handle: Handler | None = None

        def handle_exactly(request: Request) -> Coroutine[Any, Any, Response]:
            nonlocal handle
            handle = handle or self._handler()
            return handle(request)

        return handle_exactly

    def _handler(self) -> Handler:
        call = Called(self.dependant)
        told = self.openapi_extra or {}
        described = [field.alias for field in _declared(self)] + [
            parameter["name"] for parameter in told.get("parameters", []) if parameter["in"] == "query"
        ]
        told_further = told.get(FURTHER, {})
        further = re.compile("|".join(told_further.values())) if told_further else None
        known = [*described, *told_further]

        def handle_exactly(request: Request) -> Coroutine[Any, Any, Response]:
            if query := request.scope["query_string"]:
                _refuse_many(query)
                _check([name for name, _ in pairs(request)], known, further)
            return call(request)

        return handle_exactly


def _declared(route: APIRoute) -> list[Any]:
    """The fields of the signature that are parameters of the address."""
    return [field for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)]


def refuse_twice(names: Sequence[str]) -> None:
    """Invalid if one of these is there more than once: a parser would drop one silently."""
    if len(set(names)) == len(names):
        return
    name, number = Counter(names).most_common(1)[0]
    detail = f"given {number} times; say which one you mean"
    raise Invalid(f"{shown(name)}: {detail}.", [Fault(detail, parameter=shown(name))])


def _refuse_many(query: bytes) -> None:
    if query.count(b"&") >= PARAMETERS_MAX:
        raise Invalid(f"An address may have {PARAMETERS_MAX} parameters; params=… takes many as JSON.")


def _check(names: Sequence[str], known: Collection[str], further: re.Pattern[str] | None) -> None:
    """Invalid if one is unknown, with those that there are."""
    refuse_twice(names)
    for name in names:
        if name not in known and (further is None or not further.fullmatch(name)):
            there_are = f"there are {', '.join(known)}" if known else "there are none"
            detail = f"no such parameter here; {there_are}"
            raise Invalid(f"{shown(name)}: {detail}.", [Fault(detail, parameter=shown(name))])
