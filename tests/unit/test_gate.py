"""The gate keeps cookies out, and finds the session's token among them."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from app.api.gate import SESSION_TOKEN, Gate
from app.api.headers import headers_of
from app.api.streaming import Message, Receive, Scope, Send
from app.domain.caller import Quota
from app.domain.clock import SystemClock
from app.service.access import Access
from app.service.seal import Seal

NAME = "millpond_session"


class NobodyEnds:
    """No session is ended."""

    def __contains__(self, session: str) -> bool:
        return False

    async def add(self, session: str, until: datetime, now: datetime) -> None:
        raise AssertionError(f"{session} is ended {until - now} early")


def let_in(path: str, *cookies: bytes) -> Scope:
    """The request as it is inside, where everybody comes in."""
    inside: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inside.append(scope)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        raise AssertionError(f"nothing is answered, and not {message}")

    headers = [(b"host", b"here"), *((b"cookie", cookie) for cookie in cookies)]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": headers}
    access = Access(None, Quota(), Seal(b"s" * 32), NobodyEnds(), SystemClock(), 60.0)

    async def come() -> None:
        await Gate(app, access)(scope, receive, send)

    asyncio.run(come())
    [found] = inside
    return found


@pytest.mark.parametrize("path", ["/livez", "/v1/jobs"])
def test_no_cookie_comes_further_in(path: str) -> None:
    """The framework would read it, whether a route asks for one or not, and take seconds for some."""
    scope = let_in(path, b'a="' + b"\\\\" * 30_000 + b'"')

    assert scope["headers"] == [(b"host", b"here")]
    assert headers_of(scope) == {b"host": b"here"}
    assert scope[SESSION_TOKEN] is None


@pytest.mark.parametrize(
    ("cookie", "token"),
    [
        (f"{NAME}=abc.de-f_", "abc.de-f_"),
        (f"a=1; {NAME}=abc; b=2", "abc"),
        (f"a=1;{NAME}=abc", "abc"),
        (f"x{NAME}=abc; {NAME}x=abc; =; ;", None),
        (f'a="; {NAME}=abc', "abc"),
        ("", None),
    ],
)
def test_the_token_is_found_among_the_cookies(cookie: str, token: str | None) -> None:
    """By its whole name, and as it was given."""
    assert let_in("/v1/jobs", cookie.encode())[SESSION_TOKEN] == token
