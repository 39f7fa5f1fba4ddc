"""Things to do at their time, with a single timer for all of them.

A timer of the loop is several objects, and a garbage collection looks at every object: ten thousand jobs may have a
time limit, and even more items may wait to be tried again.  An entry here is not such an object.

Invariant: for each key at most one time is told, and it is the one that was set last.
"""

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

AT_ONCE = 100
"""Of those whose time comes at the same moment, stale ones too, before others have the loop."""

K = TypeVar("K", bound=Hashable)


class Timetable(Generic[K]):
    """Tells each key whose time has come.  Keys are plain, that nobody looks into them, and can be sorted."""

    def __init__(self, tell: Callable[[K], object]) -> None:
        self._tell = tell
        self._at: dict[K, float] = {}
        """When, by the loop's clock."""
        self._heap: list[tuple[float, K]] = []
        """(when, key); an entry that does not say what stands in `_at` is stale."""
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def set(self, key: K, seconds: float) -> None:
        """Its time comes after so long."""
        self._at[key] = at = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 4 * len(self._at) + 64:
            self._heap = [(at, key) for key, at in self._at.items()]
            heapq.heapify(self._heap)
        self._arm()

    def forget(self, key: K) -> None:
        """Its time does not matter any more; harmless if it has none."""
        self._at.pop(key, None)

    def stop(self) -> None:
        """Nothing more is told."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        at, _ = self._heap[0]
        if self._timer is not None:
            if self._rings_at <= at:
                return
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        looked_at = 0
        try:
            while self._heap and self._heap[0][0] <= now and looked_at < AT_ONCE:
                at, key = heapq.heappop(self._heap)
                looked_at += 1
                if self._at.get(key) == at:
                    del self._at[key]
                    self._tell(key)
        finally:
            if self._heap:
                self._arm()
