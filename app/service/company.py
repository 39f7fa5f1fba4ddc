"""Whether a job has the workers to itself: then its chunks may be long, which saves most of what chunks cost.

How it works: when another job finds no room, the long chunks are recalled: their workers are free as soon as the items
that run have ended, sooner than short chunks would be.  For a while after that all chunks are short, so that jobs that
come one after the other do not cut everything to pieces.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from app.domain.chunking import ALONE_SECONDS, TARGET_SECONDS
from app.domain.engine import Chunk, PoolName

QUIET_SECONDS = 1.0
"""How long nobody else must have wanted a worker."""

K = TypeVar("K")


class Company(Generic[K]):
    """The long chunks of each pool, and when somebody was last in the way of somebody else."""

    def __init__(
        self, pools: Sequence[PoolName], recall: Callable[[int], None], taken: Callable[[int], float]
    ) -> None:
        """`recall` lets a chunk start none of its further items, `taken` tells how many seconds it has run."""
        self._recall = recall
        self._taken = taken
        self._crowded_at = dict.fromkeys(pools, -QUIET_SECONDS)
        self._long: dict[PoolName, dict[int, K]] = {pool: {} for pool in pools}
        """Whose they are, by the chunk's id."""

    def chunk_seconds(self, pool: PoolName, wanting: int, now: float) -> float:
        """How long a chunk cut now may take, while `wanting` jobs want a worker."""
        quiet = now - self._crowded_at[pool] >= QUIET_SECONDS
        return ALONE_SECONDS if wanting == 1 and quiet else TARGET_SECONDS

    def is_only(self, pool: PoolName, owner: K) -> bool:
        """Whether nobody else has long chunks there."""
        return all(other == owner for other in self._long[pool].values())

    def sent(self, pool: PoolName, owner: K, chunk: Chunk) -> None:
        """The chunk is with a worker."""
        if chunk.long:
            self._long[pool][chunk.id] = owner

    def taken(self, pool: PoolName) -> Sequence[tuple[int, K, float]]:
        """The long chunks that are with workers, whose they are, and how many seconds each has taken so far."""
        return [(number, owner, self._taken(number)) for number, owner in self._long[pool].items()]

    def ended(self, pool: PoolName, chunk: Chunk) -> None:
        """It is with none any more."""
        self._long[pool].pop(chunk.id, None)

    def waits(self, pool: PoolName, now: float, own: K | None = None) -> None:
        """Somebody finds no room; what `own` has with workers is in nobody's way."""
        in_the_way = [number for number, owner in self._long[pool].items() if owner != own]
        if own is None or in_the_way:
            self._crowded_at[pool] = now
        for number in in_the_way:
            del self._long[pool][number]
            self._recall(number)
