"""The faults, in the order of the table's rows, and the two ways of handing over items.

Invariant: a fault's clue matches an error only if that tells what happened to the bad item.
"""

import re
from dataclasses import dataclass
from typing import Literal

from bench.faults.tasks import EXIT_CODE

Way = Literal["each", "map"]
WAYS: tuple[Way, ...] = ("each", "map")

Kind = Literal["item", "stopped", "idle", "parent"]
"""Whether an item does it, a worker is stopped at it, idle workers are killed, or their parent is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong."""

    name: str
    title: str
    kind: Kind
    misdeed: str = ""
    """What the bad item does; of a fault of the parent, what its workers are at."""
    told: str = ""
    """How the table says that an error named it."""
    clue: str = "(?!)"
    """A pattern of errors that name it."""
    limit_seconds: float | None = None
    """The time limit of each item, where a library has one."""

    def named_in(self, error: str) -> bool:
        return re.search(self.clue, error) is not None


_SIGKILL = r"SIGKILL|-9\b"

FAULTS = (
    Fault(
        "exit",
        "`os._exit(43)`",
        "item",
        "exit",
        f"exit code {EXIT_CODE}",
        rf"(exit|code|status)\D*{EXIT_CODE}\b",
    ),
    Fault("kill", "SIGKILL", "item", "kill", "SIGKILL", _SIGKILL),
    Fault("segfault", "segmentation fault", "item", "segfault", "SIGSEGV", r"SIGSEGV|-11\b"),
    Fault(
        "two-arguments",
        "raises what does not unpickle",
        "item",
        "two-arguments",
        "`TwoArguments`",
        "TwoArguments",
    ),
    Fault(
        "unpicklable", "raises what does not pickle", "item", "unpicklable", "`Unpicklable`", "Unpicklable"
    ),
    Fault(
        "result",
        "returns a lock",
        "item",
        "result",
        "cannot be sent",
        r"(?i)pickle.*lock|lock.*(pickle|JSON)",
    ),
    Fault("system-exit", "`SystemExit`", "item", "system-exit", "`SystemExit`", "SystemExit"),
    Fault("endless", "never ends (limit 1 s)", "item", "sleep", "timeout", "(?i)timeout", limit_seconds=1.0),
    Fault(
        "stop",
        "its worker is sent SIGSTOP",
        "stopped",
        "sleep",
        "SIGKILL",
        rf"{_SIGKILL}|SIGSTOP|(?i:stopped)",
    ),
    Fault("idle", "idle workers killed, one by one", "idle"),
    Fault("parent-idle", "idle", "parent"),
    Fault("parent-busy", "asleep in an item", "parent", "sleep"),
    Fault("parent-gil", "holding the interpreter lock", "parent", "hold-gil"),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
