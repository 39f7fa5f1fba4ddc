"""What is counted and timed at the edges: requests, readers of streams, commits, the loop."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.domain.histogram import Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class Traffic:
    """What came in since the start."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Answered ones, by method, route template and status; bounded, since these are."""
    readers: Counter[str] = field(default_factory=Counter)
    """Of server-sent events, connected now, by stream."""

    def note(self, method: str, route: object, status: int) -> None:
        """An answer begins; `route` is what it is of, None where there is none, or it was not come to."""
        known = method if method in METHODS else "other"
        self.requests[known, getattr(route, "path", "none"), status] += 1

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
