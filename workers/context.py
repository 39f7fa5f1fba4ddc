"""What a task can say about itself while it runs."""

import logging
import time
from collections.abc import Sized
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

REPORT_SECONDS = 0.1
"""Reports that come faster are dropped, but for the last."""
MESSAGE_CHARS_MAX = 200

log = logging.getLogger("millpond.task")
"""A logger for tasks: what is logged while an item runs is kept with that item, as is what it prints."""


class Reporter(Protocol):
    """Where progress goes."""

    def progress(self, place: int, share: float, message: str) -> None: ...


@dataclass(slots=True)
class Here:
    """The item that runs."""

    reporter: Reporter
    place: int
    """In its chunk."""
    ended: Sized = ()
    """Items that have ended since that one began; of those that run one by one, none."""
    told_at: float = 0.0


HERE: ContextVar[Here] = ContextVar("here")


def report_progress(share: float, message: str = "") -> None:
    """Tell how far the item is, from 0 to 1; shown while it runs.  Does nothing where no item runs."""
    here = HERE.get(None)
    now = time.monotonic()
    if here is None or (now - here.told_at < REPORT_SECONDS and share < 1):
        return
    here.told_at = now
    here.reporter.progress(
        here.place + len(here.ended), min(max(float(share), 0.0), 1.0), message[:MESSAGE_CHARS_MAX]
    )
