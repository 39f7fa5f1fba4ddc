"""Who is served next: worker time shared fairly between jobs.

Each party has a virtual time, the worker seconds it was given divided by its weight; the one with the least
is served next.  Who joins starts at the least virtual time there is, so it neither waits for its elders nor
is paid for the time it wanted nothing.
"""

import heapq
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.domain.job import Priority

WEIGHTS: Mapping[Priority, float] = {"low": 0.25, "normal": 1.0, "high": 4.0}

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
        self._floor = 0.0

    def __contains__(self, party: K) -> bool:
        return party in self._parties

    def join(self, party: K, weight: float, time: float = 0.0) -> None:
        """Add a party, with the virtual time it had when it left; harmless if it is here."""
        if party not in self._parties:
            self._parties[party] = _Party(weight, max(time, self._floor))
            self._push(party)

    def leave(self, party: K) -> float:
        """Remove a party that wants nothing now, and return its virtual time; harmless if it is not here."""
        entry = self._parties.pop(party, None)
        return entry.time if entry else 0.0

    def weigh(self, party: K, weight: float) -> None:
        """From now on the party has this weight; harmless if it is not here."""
        if entry := self._parties.get(party):
            entry.weight = weight

    def charge(self, party: K, seconds: float) -> None:
        """The party was given worker time; a negative amount gives back what was overestimated."""
        if entry := self._parties.get(party):
            entry.time += seconds / entry.weight
            self._push(party)

    def first(self) -> K | None:
        """The party to serve next."""
        while self._heap:
            time, serial, party = self._heap[0]
            entry = self._parties.get(party)
            if entry and entry.serial == serial:
                self._floor = max(self._floor, time)
                return party
            heapq.heappop(self._heap)
        return None

    def _push(self, party: K) -> None:
        entry = self._parties[party]
        self._serial += 1
        entry.serial = self._serial
        heapq.heappush(self._heap, (entry.time, self._serial, party))
        if len(self._heap) > 4 * len(self._parties) + 64:
            self._heap = [(e.time, e.serial, key) for key, e in self._parties.items()]
            heapq.heapify(self._heap)
