"""Who comes in: decided for every request in this one place, before any of it is looked at.

Invariant: what is not listed in `OPEN` needs a key, a new route too; what changes something needs `submit`, and what
changes everybody's pool `admin`.
Invariant: cookies are read here and no further in.  The standard library, which the framework reads them with, takes
time in the square of their length to unquote them (CVE-2024-7592): seconds, for one request of a stranger's.
"""

import re
from collections.abc import Awaitable
from urllib.parse import parse_qs

from app.api.headers import header, headers_of
from app.api.streaming import App, Receive, Scope, Send
from app.domain.caller import Caller, Role
from app.domain.errors import Forbidden
from app.service.access import Access

OPEN = frozenset(
    {"/", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/problems"}
)
"""The page and the documents hold no data; the others tell whoever watches the service that it is there."""
OPEN_BELOW = ("/static/", "/static-offline-docs/", "/jobs/", "/problems/")
SESSION = "/v1/session"
OPERATING = re.compile(r"/v1/pool(/.*)?")
EVENTS = re.compile(r"/v1/jobs/([^/]+)/events")
CALLER = "millpond.caller"
"""Where the scope of a request says who sent it."""
COOKIE = "millpond_session"
SESSION_TOKEN = "millpond.session_token"
"""Where the scope of a request holds what was in the cookie, if there was one."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL = re.compile(r"(([a-z0-9-]+\.)*localhost|[0-9.]+|\[[0-9a-f:.]+\])?(:[0-9]*)?", re.IGNORECASE)
"""Hosts that nobody else can lead here: addresses, and names that are this machine (RFC 6761, section 6.3)."""


class Gate:
    """Lets a request through with its caller in the scope, or raises why not: Unauthorized or Forbidden."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            _take_cookies(scope)
            if not is_open(scope["method"], scope["path"]):
                scope[CALLER] = self._caller(scope)
            elif scope["path"] == SESSION:
                _check_origin(scope, needed=False)
        return self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        """Unauthorized if nobody we know sent this, Forbidden if it may not, or may not from there."""
        caller = self._who(scope)
        role = needed(scope["method"], scope["path"])
        if not caller.role.includes(role):
            raise Forbidden(f"This takes a key with the role {role}; yours has {caller.role}.")
        return caller

    def _who(self, scope: Scope) -> Caller:
        if self._access.open:
            if self._access.local:
                _check_host(scope)
            if scope["method"] not in SAFE:
                _check_origin(scope, needed=False)  # a page from anywhere reaches what is on loopback
            return self._access.anybody()
        if key := bearer_key(scope):
            return self._access.bearer(key)
        if (events := EVENTS.fullmatch(scope["path"])) and scope["method"] in SAFE:
            query = scope["query_string"].decode("ascii", "replace")
            if ticket := parse_qs(query).get("ticket"):
                return self._access.ticket(ticket[0], events[1])
        if token := scope[SESSION_TOKEN]:
            if scope["method"] not in SAFE:
                _check_origin(scope, needed=True)
            return self._access.session(token)
        return self._access.anybody()


def needed(method: str, path: str) -> Role:
    """The role that it takes."""
    if method in SAFE or path == SESSION:
        return Role.READ
    return Role.ADMIN if OPERATING.fullmatch(path) else Role.SUBMIT


def bearer_key(scope: Scope) -> str | None:
    """The key in the Authorization header (RFC 6750, section 2.1)."""
    scheme, _, key = (header(scope, b"authorization") or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def is_open(method: str, path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW) or (method == "POST" and path == SESSION)


def _take_cookies(scope: Scope) -> None:
    """Leave the request no cookies, and the token that one of them held."""
    cookies = header(scope, b"cookie")
    scope[SESSION_TOKEN] = _session_token(cookies)
    if cookies is not None:
        del headers_of(scope)[b"cookie"]
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"cookie"]


def _session_token(cookies: str | None) -> str | None:
    """The session's token among the cookies (RFC 6265, section 4.2.1), which never has to be quoted."""
    if cookies is None:
        return None
    pairs = (pair.strip().partition("=") for pair in cookies.split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), None)


def _check_host(scope: Scope) -> None:
    """Forbidden for what is asked under a name that somebody may have led to this machine (DNS rebinding).

    To a browser a page of that name and this service are of one origin: it would read and change everything.
    """
    if not _LOCAL.fullmatch(header(scope, b"host") or ""):
        raise Forbidden(
            "Without keys, this answers to localhost and to addresses only, as any page may lead a name here."
            " The operator makes keys, or sets MILLPOND_AUTH=none if everybody who reaches it may use it."
        )


def _check_origin(scope: Scope, *, needed: bool) -> None:
    """Forbidden for what another site's page sends: a browser adds its cookies to that, too.

    `SameSite=Strict` keeps them from other sites already, but not from other ports and names of this one.
    """
    origin = header(scope, b"origin")
    if origin is None and not needed:
        return
    if origin is None or origin.partition("://")[2] != header(scope, b"host"):
        raise Forbidden(
            "Of pages in a browser, only this service's own may change something: its Origin must be this Host."
            " Send Authorization: Bearer <key> instead; a proxy in front must pass Host on as it came."
        )
