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
from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from app.domain.job import Priority

WEIGHTS: Mapping[Priority, float] = {"low": 0.25, "normal": 1.0, "high": 4.0}
HEAD_START_SECONDS = 0.1
"""Virtual: how far before the clock a party starts.  Others are about a chunk before or behind it, and a job that
has just come should not wait for these."""

K = TypeVar("K", bound=Hashable)
Turn = tuple[float, int]
"""Virtual time, and a number that no other party has."""


class FairShare(Generic[K]):
    """The parties that want worker time now.  Every call is O(log n), amortised.

    What is known of a party stands as numbers in tables, not as an object: ten thousand may wait, and whenever Python
    looks for garbage it looks at every object.
    """

    def __init__(self) -> None:
        self._weights: dict[K, float] = {}
        self._times: dict[K, float] = {}
        """Virtual."""
        self._serials: dict[K, int] = {}
        self._by_serial: dict[int, K] = {}
        self._heap: list[Turn] = []
        """(virtual time, serial); an entry whose serial is no party's any more is stale."""
        self._serial = 0
        self._clock = 0.0
        self._weight = 0.0
        """Of all parties together."""

    def __contains__(self, party: K) -> bool:
        return party in self._weights

    def __len__(self) -> int:
        return len(self._weights)

    def join(self, party: K, weight: float, time: float = 0.0, place: int | None = None) -> None:
        """Add a party, with the virtual time it had when it left; if it is here, it may have another weight now.

        With the place that it had then too, if it was not charged since, it is before those who came after it.
        """
        self._weight += weight - self._weights.get(party, 0.0)
        known = party in self._weights
        self._weights[party] = weight
        if not known:
            self._times[party] = now = max(time, self._clock - HEAD_START_SECONDS)
            self._push(party, place if now == time else None)

    def place(self, party: K) -> int | None:
        """Where the party stands among those of the same virtual time; None if it is not here."""
        return self._serials.get(party)

    def leave(self, party: K) -> float:
        """Remove a party that wants nothing now, and return its virtual time; harmless if it is not here."""
        weight = self._weights.pop(party, None)
        if weight is None:
            return 0.0
        del self._by_serial[self._serials.pop(party)]
        self._weight = self._weight - weight if self._weights else 0.0
        return self._times.pop(party)

    def charge(self, party: K, seconds: float) -> None:
        """The party was given worker time; a negative amount gives back what was overestimated."""
        if weight := self._weights.get(party):
            self._times[party] += seconds / weight
            self._clock += seconds / self._weight
            self._push(party)

    def charge_absent(self, weight: float, seconds: float) -> float:
        """Who has left was given worker time, or gives some back: by how much its virtual time changes."""
        self._clock += seconds / (self._weight + weight)
        return seconds / weight

    def first(self) -> K | None:
        """The party to serve next."""
        while self._heap:
            serial = self._heap[0][1]
            if serial in self._by_serial:
                return self._by_serial[serial]
            heapq.heappop(self._heap)
        return None

    def order(self) -> list[Turn]:
        """Everybody's turn, as they would be served if nobody was charged anything.  O(n log n)."""
        return sorted(self._entries())

    def turn(self, party: K) -> Turn:
        """That of the party, which is here: the lesser is served first."""
        return self._times[party], self._serials[party]

    def part(self, party: K) -> float:
        """Which part of all worker time the party is due, as long as the same parties want some."""
        return self._weights[party] / self._weight

    def part_of_another(self, weight: float) -> float:
        """The part that a party which is not here would be due, had it joined."""
        return weight / (self._weight + weight)

    def _push(self, party: K, place: int | None = None) -> None:
        if party in self._serials:
            del self._by_serial[self._serials[party]]
        if place is None:
            self._serial = place = self._serial + 1
        self._serials[party] = place
        self._by_serial[place] = party
        heapq.heappush(self._heap, (self._times[party], place))
        if len(self._heap) > 4 * len(self._weights) + 64:
            self._heap = list(self._entries())
            heapq.heapify(self._heap)

    def _entries(self) -> Iterator[Turn]:
        """As they stand in the heap, of the parties that are here."""
        return zip(self._times.values(), self._serials.values(), strict=True)
