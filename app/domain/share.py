"""Who is served next: worker time shared fairly between jobs.

Each party has a virtual time, the worker seconds it was given divided by its weight; the one with the least
is served next.  The common clock goes on by the worker seconds given to anybody, divided by the weights of all who
want some (the virtual time of weighted fair queueing: Demers, Keshav, Shenker, 1989).  Who joins starts a little
before the common clock, so it neither waits for its elders nor is paid for the time it wanted nothing.

Priority ages: a party that waits stands still while the clock goes on, so whoever comes later starts behind it.
Invariant: between two turns of a party that keeps wanting time, all others together are given at most
`(last / w + HEAD_START_SECONDS) * W` seconds, and one turn each, if they have the weight `W` and it, of weight
`w`, was given `last` seconds at its turn; however many of them come and go.
"""

import heapq
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.domain.job import Priority

WEIGHTS: Mapping[Priority, float] = {"low": 0.25, "normal": 1.0, "high": 4.0}
HEAD_START_SECONDS = 0.1
"""Virtual: how far before the clock a party starts.  Others are about a chunk before or behind it, and a job that
has just come should not wait for these."""

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Party:
    weight: float
    time: float
    serial: int = 0


class FairShare(Generic[K]):
    """The parties that want worker time now.  Every call is O(log n), amortised."""

    def __init__(self) -> None:
        self._parties: dict[K, _Party] = {}
        self._heap: list[tuple[float, int, K]] = []
        """(virtual time, serial, party); an entry whose serial is not its party's is stale."""
        self._serial = 0
        self._clock = 0.0
        self._weight = 0.0
        """Of all parties together."""

    def __contains__(self, party: K) -> bool:
        return party in self._parties

    def __len__(self) -> int:
        return len(self._parties)

    def join(self, party: K, weight: float, time: float = 0.0) -> None:
        """Add a party, with the virtual time it had when it left; if it is here, it may have another weight now."""
        if entry := self._parties.get(party):
            self._weight += weight - entry.weight
            entry.weight = weight
            return
        self._weight += weight
        self._parties[party] = _Party(weight, max(time, self._clock - HEAD_START_SECONDS))
        self._push(party)

    def leave(self, party: K) -> float:
        """Remove a party that wants nothing now, and return its virtual time; harmless if it is not here."""
        entry = self._parties.pop(party, None)
        if entry is None:
            return 0.0
        self._weight = self._weight - entry.weight if self._parties else 0.0
        return entry.time

    def charge(self, party: K, seconds: float) -> None:
        """The party was given worker time; a negative amount gives back what was overestimated."""
        if entry := self._parties.get(party):
            entry.time += seconds / entry.weight
            self._clock += seconds / self._weight
            self._push(party)

    def charge_absent(self, weight: float, seconds: float) -> float:
        """Who has left was given worker time, or gives some back: by how much its virtual time changes."""
        self._clock += seconds / (self._weight + weight)
        return seconds / weight

    def first(self) -> K | None:
        """The party to serve next."""
        while self._heap:
            _, serial, party = self._heap[0]
            entry = self._parties.get(party)
            if entry and entry.serial == serial:
                return party
            heapq.heappop(self._heap)
        return None

    def order(self) -> list[K]:
        """All parties, as they would be served if nobody was charged anything.  O(n log n)."""
        return sorted(
            self._parties, key=lambda party: (self._parties[party].time, self._parties[party].serial)
        )

    def part(self, party: K) -> float:
        """Which part of all worker time the party is due, as long as the same parties want some."""
        return self._parties[party].weight / self._weight

    def _push(self, party: K) -> None:
        entry = self._parties[party]
        self._serial += 1
        entry.serial = self._serial
        heapq.heappush(self._heap, (entry.time, self._serial, party))
        if len(self._heap) > 4 * len(self._parties) + 64:
            self._heap = [(e.time, e.serial, key) for key, e in self._parties.items()]
            heapq.heapify(self._heap)
