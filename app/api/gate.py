"""Who comes in: decided for every request in this one place, before any of it is looked at.

Invariant: what is not listed in `OPEN` needs a key, a new route too; what changes something needs `submit`, and what
changes everybody's pool `admin`.
"""

from app.api.problems import problem
from app.api.streaming import App, Receive, Scope, Send
from app.domain.caller import Caller, Role
from app.domain.errors import Forbidden, RequestError, Unauthorized
from app.service.access import Access

OPEN = frozenset({"/", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"})
"""The page and the documents hold no data; the others tell whoever watches the service that it is there."""
OPEN_BELOW = ("/static/", "/static-offline-docs/", "/jobs/", "/problems/")
OPERATING = "/v1/pool"
CALLER = "millpond.caller"
"""Where the scope of a request says who sent it."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = "Bearer"


class Gate:
    """Lets a request through with its caller in the scope, or answers it."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope["path"]):
            try:
                caller = self._caller(scope)
                _check_role(scope, caller)
            except RequestError as error:
                await _refusal(scope, error)(scope, receive, send)
                return
            scope = dict(scope) | {CALLER: caller}
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        """Unauthorized if nobody we know sent this."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        scheme, _, key = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._access.bearer(key.strip())
        return self._access.anybody()


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def needed(method: str, path: str) -> Role:
    """The role that it takes."""
    if method in SAFE:
        return Role.READ
    return Role.ADMIN if path == OPERATING or path.startswith(f"{OPERATING}/") else Role.SUBMIT


def _check_role(scope: Scope, caller: Caller) -> None:
    """Forbidden if the caller's role is not enough."""
    role = needed(scope["method"], scope["path"])
    if not caller.role.includes(role):
        raise Forbidden(f"This takes a key with the role {role}; yours has {caller.role}.")


def _refusal(scope: Scope, error: RequestError) -> App:
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = CHALLENGE
    return problem(error.code, error.detail, scope["raw_path"].decode("ascii", "replace"), headers=headers)
