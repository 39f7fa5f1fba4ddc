"""Our routes are found without the framework, and are those that it would have found."""

import asyncio
import re
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import BaseRoute, Match

from app.api import problems
from app.api.app import ROUTED
from app.api.arguments import Called
from app.api.direct import Direct
from app.api.front import Front
from app.api.query import Exact
from app.api.streaming import Message, Scope
from app.api.traffic import Traffic
from app.domain.errors import NotFound

ROUTES = [route for module in ROUTED for route in module.router.routes]


def scope_of(path: str, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "extensions": {},
    }


def answered(app: Any, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def routed(routes: list[BaseRoute], scope: Scope) -> tuple[object, object]:
    """The route that a request comes to, and its parameters; nothing if that is for the framework to find."""

    async def framework(scope: Scope, *_: object) -> None: ...

    direct = Direct(framework, routes)
    target, parameters = direct.found(scope)
    return (target.route, parameters) if target else (None, {})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_a_request_comes_to_the_route_that_the_framework_would_find(route: Exact) -> None:
    """Of those that match, the first one; with the same parameters."""
    for method in route.methods or ():
        scope = scope_of(re.sub(r"\{.*?\}", "a1", route.path), method)
        matches = ((each, *each.matches(dict(scope))) for each in ROUTES)
        first, child = next((each, child) for each, match, child in matches if match is Match.FULL)

        assert routed(ROUTES, scope) == (first, child["path_params"])


@pytest.mark.parametrize(
    ("path", "method"), [("/v1/jobs", "PATCH"), ("/v1/jobs/a/b/c", "GET"), ("/v1/jobs/", "GET"), ("/", "GET")]
)
def test_what_no_route_of_ours_is_for_is_the_frameworks(path: str, method: str) -> None:
    """It knows what is missing: the address or the method."""
    assert routed(ROUTES, scope_of(path, method)) == (None, {})


def test_what_comes_below_another_address_is_the_frameworks() -> None:
    """It knows which part of the path that is; so is what is no request."""
    assert routed(ROUTES, scope_of("/v1/jobs") | {"root_path": "/v1"}) == (None, {})
    assert routed(ROUTES, {"type": "lifespan"}) == (None, {})


def test_of_several_routes_that_match_the_first_is_called() -> None:
    """As the framework has it, whether their paths are the same or not."""
    router = APIRouter(route_class=Exact)
    for path in ("/a/{name}", "/{name}/b", "/c", "/c"):

        @router.get(path)
        async def one(name: str = "") -> Response:
            return Response(name)

    for asked, index in (("/a/b", 0), ("/b/b", 1), ("/c", 2)):
        scope = scope_of(asked)
        first = next(each for each in router.routes if each.matches(dict(scope))[0] is Match.FULL)

        assert routed(router.routes, scope)[0] is first is router.routes[index]


def test_a_route_that_would_never_be_reached_is_a_mistake() -> None:
    """A fixed path is looked up first, whatever order the framework would have gone by."""
    router = APIRouter(route_class=Exact)

    @router.get("/a/{name}")
    async def one(name: str) -> Response:
        return Response(name)

    @router.get("/a/b")
    async def two() -> Response:
        return Response()

    with pytest.raises(AssertionError, match="a route before this one"):
        routed(router.routes, scope_of("/a/b"))


def test_a_route_is_read_when_it_is_asked_for() -> None:
    """Not to find it, or another; its function is called with what its signature asks for, each time."""
    router = APIRouter(route_class=Exact)
    for path in ("/a/{name}", "/b/{name}"):

        @router.get(path)
        async def one(name: int, more: int = 1) -> Response:
            return Response(str(name * more))

    first, second = router.routes

    async def framework(*_: object) -> None: ...

    direct = Direct(framework, router.routes)
    routed(router.routes, scope_of("/b/2"))
    assert not {"dependant", "responses"} & (vars(first).keys() | vars(second).keys())

    for query, answer in ((b"", b"2"), (b"more=3", b"6")):
        assert answered(direct, scope_of("/a/2") | {"query_string": query})[1]["body"] == answer
    assert vars(first)["dependant"].call is first.endpoint  # type: ignore[attr-defined]
    assert "dependant" not in vars(second)
    assert second.description == ""  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nothing"):
        second.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_what_is_not_read_at_the_start_can_be(route: Exact) -> None:
    """A signature that is no route of ours is a mistake that would otherwise be found with its first request."""
    assert vars(Called(route.dependant))


def _app(traffic: Traffic, error: Exception, *, begun: bool) -> Front:
    router = APIRouter(route_class=Exact)

    class Answer(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if begun:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise error

    @router.get("/a/{name}")
    async def failing(request: Request, name: str) -> Response:
        return Answer()

    framework = FastAPI()
    problems.install(framework)
    return Front(Direct(framework, router.routes), traffic)


def test_what_a_route_raises_is_answered_and_counted() -> None:
    """With a problem, under its template."""
    traffic = Traffic()

    start, body = answered(_app(traffic, NotFound("No such thing."), begun=False), scope_of("/a/b"))

    assert start["status"] == 404
    assert b'"instance":"/a/b"' in body["body"]
    assert traffic.requests == {("GET", "/a/{name}", 404): 1}


def test_a_bug_is_answered_and_raised() -> None:
    """The server logs it."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def request() -> None:
        await _app(Traffic(), KeyError("x"), begun=False)(scope_of("/a/b"), None, send)  # type: ignore[arg-type]

    with pytest.raises(KeyError):
        asyncio.run(request())
    assert [message.get("status") for message in sent] == [500, None]


def test_an_answer_that_had_begun_is_not_followed_by_another() -> None:
    """The server cuts it off, since what was raised reaches it."""
    traffic = Traffic()

    with pytest.raises(NotFound):
        answered(_app(traffic, NotFound("Gone meanwhile."), begun=True), scope_of("/a/b"))

    assert traffic.requests == {("GET", "/a/{name}", 200): 1}
