"""Our routes, found and called directly.

How it works: the framework asks one route after the other whether a request is for it, and calls the right one through
several layers: exit stacks, nets for exceptions.  That takes longer than most of our routes do, and none of them needs
it.  So a table, by method and path, leads to the functions of our routes (`Exact`), and the outermost layer (`Front`)
answers what they raise.  The rest is left to the framework: pages, documents, and addresses that lead nowhere.

Invariant: a request comes to the route that the framework would have found; the framework still knows and describes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.routing import BaseRoute

from app.api.aside import Framework
from app.api.query import Exact, Handler
from app.api.streaming import App, Receive, Scope, Send

Parameters = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Target:
    """A route, and what answers for it."""

    route: Exact
    handle: Handler


class Direct:
    """Calls one of the routes, or lets the framework find what to do."""

    def __init__(self, framework: App, routes: Iterable[BaseRoute]) -> None:
        self._framework = framework
        self._fixed: dict[tuple[str, str], _Target] = {}
        """By method and path."""
        self._others: dict[str, list[_Target]] = {}
        """Those whose paths have parameters, by method, in the order in which they are tried."""
        for route in routes:
            assert isinstance(route, Exact), f"{route}: is called by the framework"
            for method in route.methods or ():
                self._add(method, _Target(route, route.get_route_handler()))

    def _add(self, method: str, target: _Target) -> None:
        if target.route.param_convertors:
            self._others.setdefault(method, []).append(target)
            return
        path = target.route.path
        assert self._with_parameters(method, path) is None, f"{path}: a route before this one would get it"
        self._fixed.setdefault((method, path), target)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target, parameters = self.found(scope)
        if target is None:
            if scope["type"] == "http":
                await Framework.load()
            await self._framework(scope, receive, send)
            return
        scope["path_params"], scope["route"] = parameters, target.route
        answer = await target.handle(Request(scope, receive, send))
        assert isinstance(answer, Response), f"{target.route}: makes its own answer"
        await answer(scope, receive, send)

    def found(self, scope: Scope) -> tuple[_Target | None, Parameters]:
        """The route that the request is for, and what its path says; None if it is none of ours."""
        if scope["type"] != "http" or scope.get("root_path"):
            return None, {}
        method, path = scope["method"], scope["path"]
        if target := self._fixed.get((method, path)):
            return target, {}
        return self._with_parameters(method, path) or (None, {})

    def _with_parameters(self, method: str, path: str) -> tuple[_Target, Parameters] | None:
        for target in self._others.get(method, ()):
            if found := target.route.path_regex.match(path):
                return target, found.groupdict()
        return None
