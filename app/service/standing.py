"""Where a job stands among those that want workers.

How it works: the turns of all jobs are sorted, and for a while other jobs are looked up in that list.  A job that is
not in it yet is inserted: each submission is told its place, and ten thousand may come one after the other.

Invariant: with any number of readers, this costs sorting a pool's jobs a few times a second at most, unless these are
few.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.clock import Clock
from app.domain.share import FairShare, Turn
from app.service.live import LiveJob

FRESH_SECONDS = 0.2
"""How long an order that was looked up is good enough."""
FEW = 100
"""So many are sorted each time."""


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
    turns: list[Turn] = field(default_factory=list)
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
        if len(share) <= FEW or now - order.at > FRESH_SECONDS:
            order.turns, order.at = share.order(), now
        turn = share.turn(live)
        ahead = bisect_left(order.turns, turn)
        if order.turns[ahead : ahead + 1] != [turn]:
            order.turns.insert(ahead, turn)
        others = len(share) - 1
        return Standing(min(ahead, others), others, share.part(live))  # some may have left since
