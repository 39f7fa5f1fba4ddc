"""What is counted and timed at the edges: requests, readers of streams, commits, the loop."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.api.streaming import App, Message, Receive, Scope, Send
from app.domain.histogram import Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTED = "millpond.routed"
"""Where the scope of a request holds the scope in which it is routed."""


@dataclass(slots=True)
class Traffic:
    """What came in since the start."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Answered ones, by method, route template and status; bounded, since these are."""
    readers: Counter[str] = field(default_factory=Counter)
    """Of server-sent events, connected now, by stream."""

    def copied(self) -> "Traffic":
        """What it is now, for another thread to read."""
        return Traffic(self.requests.copy(), self.readers.copy())

    @contextmanager
    def reading(self, stream: str) -> Iterator[None]:
        """There is one reader more meanwhile."""
        self.readers[stream] += 1
        try:
            yield
        finally:
            self.readers[stream] -= 1


@dataclass(frozen=True, slots=True)
class Timed:
    """Where durations are noted."""

    commits: Histogram
    loop_lag: Histogram


class Counting:
    """Counts each request when its answer begins: the outermost layer, so that refusals count too."""

    def __init__(self, app: App, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        routed: list[Scope] = []

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._traffic.requests[method, _template(routed), message["status"]] += 1
            await send(message)

        await self._app(dict(scope) | {_ROUTED: routed}, receive, send_counted)


class Routed:
    """The innermost layer: shows the outermost one the scope that the router writes the route into."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _ROUTED in scope:
            scope[_ROUTED].append(scope)
        await self._app(scope, receive, send)


def _template(routed: list[Scope]) -> str:
    """The path of the route that answers, as it is declared; `none` where there is none, or it was not come to."""
    route = routed[0].get("route") if routed else None
    return str(getattr(route, "path", "none"))
