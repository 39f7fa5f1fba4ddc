"""The outermost layer: counts each answer, refusals included, and answers what was raised inside.

Invariant: whatever happens to a request, it is answered, unless an answer had begun.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api.headers import headers_of
from app.api.problems import answer_to_raised
from app.api.streaming import App, Message, Receive, Scope, Send
from app.api.traffic import Traffic

_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
PROXIES = "127.0.0.1,::1"
"""Who is believed for whom it forwards, unless `FORWARDED_ALLOW_IPS` says otherwise; both are uvicorn's."""


class Front:
    """All layers work on one copy of the server's scope, which is this one's, and may change it."""

    def __init__(self, app: App, traffic: Traffic, noted: Callable[[], object] = lambda: None) -> None:
        """`noted` is called for each request, and for each part of an answer."""
        self._app = app
        self._traffic = traffic
        self._noted = noted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inside = dict(scope)
        begun = False
        self._noted()

        def send_counted(message: Message) -> Awaitable[None]:
            nonlocal begun
            if not begun:
                begun = True
                self._traffic.note(scope["method"], inside.get("route"), message["status"])
            self._noted()
            return send(message)

        try:
            await self._app(inside, receive, send_counted)
        except Exception as error:
            if begun:
                raise
            answer, expected = answer_to_raised(inside, error)
            await answer(scope, receive, send_counted)
            if not expected:
                raise  # for the server to log


def entrance(app: FastAPI) -> App:
    """The application as the server calls it: requests come to its outermost layer at once.

    For those that say whom they were forwarded for, uvicorn's layer finds out whether that is to be believed.
    """
    layers = app.middleware_stack
    assert layers is not None, "an application that is complete"
    proxies = os.environ.get("FORWARDED_ALLOW_IPS", PROXIES)
    forwarded: Any = ProxyHeadersMiddleware(layers, proxies)  # type: ignore[arg-type]  # it is as strict as ASGI

    def enter(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope["app"] = app
        alone = scope["type"] != "http" or _FORWARDED.isdisjoint(headers_of(scope))
        return (layers if alone else forwarded)(scope, receive, send)

    return enter
