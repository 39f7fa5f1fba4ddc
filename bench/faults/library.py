"""What the comparison asks of a library.

Invariant: nothing here waits; that is the probe's business, for a library may hang wherever it likes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Work:
    """Items to run, all with the same function."""

    items: Sequence[int]
    misdeed: str = ""
    limit_seconds: float | None = None


@dataclass(slots=True)
class Ledger:
    """What its caller got to know of each item, and when; written by the library's threads as it happens."""

    outputs: dict[int, object] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    known_at: dict[int, float] = field(default_factory=dict)
    """Monotonic seconds, which all processes of a machine share."""

    def succeeded(self, x: int, output: object) -> None:
        self.outputs[x] = output
        self.known_at[x] = time.monotonic()

    def failed(self, x: int, error: str) -> None:
        self.errors[x] = error
        self.known_at[x] = time.monotonic()


class Library(Protocol):
    """A pool of two workers, as its library's manual says to use it."""

    def start(self) -> None: ...

    @property
    def parent_pid(self) -> int:
        """The process that the workers serve."""
        ...

    def each(self, work: Work, ledger: Ledger) -> None:
        """Hand over the items one by one; return when every item has an outcome.  May raise, may hang."""
        ...

    def map(self, work: Work, ledger: Ledger) -> None:
        """Hand them over as one batch, cut as the library likes best; return when nothing more will come."""
        ...


def told(error: BaseException) -> str:
    """All that an exception tells of what happened: its type first, then its causes as a traceback shows them."""
    text = f"{type(error).__name__}: {error}"
    if (exit_code := getattr(error, "exitcode", None)) is not None:
        text += f", exit code {exit_code}"
    return f"{text}\n{told(error.__cause__)}" if error.__cause__ else text
