"""Whether anything more is taken in: told before it is read."""

import asyncio
from dataclasses import dataclass

from app.domain.errors import Unavailable
from app.service.dispatcher import Dispatcher


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait here."""

    jobs_max: int
    queued_items_max: int


class Admission:
    """The door of the service."""

    def __init__(self, dispatcher: Dispatcher, closing: asyncio.Event, limits: Limits) -> None:
        self._dispatcher = dispatcher
        self._closing = closing
        self._limits = limits

    def check_job(self) -> None:
        """Whether a job would be taken.  Unavailable if not, or what is wrong with the storage."""
        self.check_items()
        jobs = len(self._dispatcher.live)
        if jobs >= self._limits.jobs_max:
            raise Unavailable(f"{jobs} jobs wait already.", retry_after_seconds=10)

    def check_items(self) -> None:
        """Whether items of a job would be taken.  Errors as for a job."""
        if self._dispatcher.trouble is not None:
            raise self._dispatcher.trouble
        if self._closing.is_set():
            raise Unavailable("The service is stopping and takes nothing new.", retry_after_seconds=5)
        waiting = self._dispatcher.tallies.items
        if waiting >= self._limits.queued_items_max:
            raise Unavailable(f"{waiting} items wait already.", retry_after_seconds=10)
