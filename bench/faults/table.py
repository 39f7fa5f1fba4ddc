"""From what was seen to the Markdown that says it.  Pure.

Invariant: a cell is built from its observation alone; no library's name is looked at.
"""

from bench.faults.catalogue import Fault
from bench.faults.library import WORKERS
from bench.faults.observation import Observation

NO_LIMIT = "no such limit"
NOT_THERE = "not installed"
NO_START = "did not start"
BROKEN, SILENT = "**broken**", "**dead**"


def cell(fault: Fault, seen: Observation | None) -> str:
    """What became of one fault in one library, in a few words."""
    if seen is None:
        return NO_START
    if seen.left is not None:
        return "none left" if seen.left == 0 else f"**{seen.left} left**"
    share = f"{seen.right}/{seen.good}"
    if seen.hangs:
        return f"**hangs**; {share}, {afterwards(seen)}"
    return ", ".join(part for part in (share, verdict(fault, seen), when(seen), afterwards(seen)) if part)


def verdict(fault: Fault, seen: Observation) -> str:
    """What the caller was told: the fault itself, or only that something went wrong; empty if nothing."""
    if seen.error is None:
        return "" if seen.right == seen.good and not fault.misdeed else "no error"
    return fault.told if fault.named_in(seen.error) else f"only `{seen.error.partition(':')[0]}`"


def when(seen: Observation) -> str:
    if seen.seconds is None:
        return ""
    return f"{seen.seconds:.2f} s" if seen.seconds >= 0.01 else "< 0.01 s"


def afterwards(seen: Observation) -> str:
    """Whether the pool takes new work: it refuses it, or takes it and never answers."""
    if seen.workers:
        return "usable" if seen.workers >= WORKERS else f"usable, {seen.workers} of {WORKERS} workers"
    return SILENT if seen.refusal is None else BROKEN
