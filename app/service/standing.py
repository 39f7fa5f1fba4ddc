"""Where a job stands among those that want workers.

Invariant: looked up by any number of readers, it costs the sorting of a pool's jobs a few times a second at most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.clock import Clock
from app.domain.share import FairShare
from app.service.live import LiveJob

FRESH_SECONDS = 0.2
"""How long an order that was looked up is good enough."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a job that wants a worker."""

    ahead: int
    """Jobs of its pool that are served before it."""
    sharers: int
    """Other jobs of its pool that want workers."""
    share: float
    """What it is due of the pool's worker time, from 0 to 1."""


@dataclass(slots=True)
class _Order:
    places: dict[str, int] = field(default_factory=dict)
    """By job id: a job that ends meanwhile is to be freed, with what is in memory of its log."""
    at: float = float("-inf")


class Standings:
    """Looks up standings."""

    def __init__(self, shares: Mapping[str, FairShare[LiveJob]], clock: Clock) -> None:
        self._shares = shares
        self._clock = clock
        self._orders = {pool: _Order() for pool in shares}

    def of(self, live: LiveJob) -> Standing | None:
        """Where the job stands; None if it wants no worker now."""
        share = self._shares[live.pool]
        if live not in share:
            return None
        order, now = self._orders[live.pool], self._clock.monotonic()
        job_id = live.job.id
        if job_id not in order.places or now - order.at > FRESH_SECONDS:
            order.places = {party.job.id: place for place, party in enumerate(share.order())}
            order.at = now
        return Standing(order.places[job_id], len(share) - 1, share.part(live))
