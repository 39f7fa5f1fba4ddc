"""How a worker ended, and what the failure of its item says about that."""

import signal
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Reason(Enum):
    """Why the pool ends a worker."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    MEMORY = "memory"
    BROKEN = "broken"
    STOPPED = "stopped"
    RETIRED = "retired"
    STUCK = "stuck"


BLAMELESS = frozenset({Reason.STOPPED, Reason.RETIRED, Reason.STUCK})
"""No item had a part in these."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker's process ended; `status` is None if nobody can tell, negative for a signal."""

    status: int | None
    max_rss_bytes: int = 0
    cpu_seconds: float = 0.0
    stack: str = ""
    log: str = ""
    stopped_by: int | None = None
    """The signal that stopped it before it was ended for that."""
    oom: bool = False
    """Whether the kernel ended something for want of memory."""


def error_of(
    exit_: Exit, reason: Reason | None, pid: int | None, timeout_seconds: float | None
) -> dict[str, Any]:
    """The failure of the item that ran when the worker ended: what happened, and all there is to know of it."""
    error = _what(exit_, reason, timeout_seconds)
    details = {
        "traceback": exit_.stack,
        "log": exit_.log,
        "pid": pid,
        "max_rss_bytes": exit_.max_rss_bytes,
        "cpu_seconds": round(exit_.cpu_seconds, 3),
    }
    return error | {name: value for name, value in details.items() if value}


def _what(exit_: Exit, reason: Reason | None, timeout_seconds: float | None) -> dict[str, Any]:
    if reason is Reason.TIMEOUT:
        message = f"took longer than {timeout_seconds:g} s and did not end when asked; its worker was killed"
        return {"kind": "timeout", "type": "TimeoutError", "message": message}
    if reason is Reason.CANCELLED:
        return {"kind": "cancelled", "type": "Cancelled", "message": "the job was cancelled"}
    if reason is Reason.MEMORY or exit_.oom:
        message = "took more memory than a worker may; its worker was killed"
        return {"kind": "out_of_memory", "type": "MemoryError", "message": message}
    if exit_.stopped_by is not None:
        name = _signal_name(exit_.stopped_by)
        message = f"the worker process was stopped by {name}, and ended for that"
        return {"kind": "crashed", "type": "WorkerDied", "message": message, "signal": name}
    if exit_.status is None:
        message = "the worker process ended, and nobody was left to see how"
        return {"kind": "crashed", "type": "WorkerDied", "message": message}
    if exit_.status < 0:
        name = _signal_name(-exit_.status)
        message = f"the worker process was ended by {name}"
        return {"kind": "crashed", "type": "WorkerDied", "message": message, "signal": name}
    message = f"the worker process exited with status {exit_.status}"
    return {"kind": "crashed", "type": "WorkerDied", "message": message, "exit_code": exit_.status}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
