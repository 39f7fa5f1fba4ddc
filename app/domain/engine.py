"""What runs items, as the service sees it.

The service hands an engine chunks; the engine tells a listener, in order, what became of their items.  An engine
knows nothing of jobs and decides nothing about retries: it reports facts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

PoolName = str
Room = Literal["idle", "behind", "after", "none"]
"""Whether a chunk would start at once, wait behind a short one, wait after a long one, or had better wait with us."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Items of one job on their way to one worker, at the places `first` … `first + count - 1`.

    These are their indexes, unless there are `ranges`.
    """

    id: int
    task: str
    params: bytes
    """A JSON object."""
    first: int
    count: int
    lines: bytes
    timeout_seconds: float | None = None
    attempt: int = 1
    """Which attempt this is, of every item in it."""
    max_attempts: int = 1
    key_field: str | None = None
    short: bool = False
    """Estimated to take less than 10 ms: another may be sent behind it."""
    long: bool = False
    """Meant to take more than 50 ms, since nobody else wanted a worker."""
    concurrency: int = 1
    """How many items of its task run side by side in one worker; above 1 a chunk is one item."""
    alone: bool = False
    """Nothing else is to run meanwhile: with others there was not memory enough."""
    light: bool = False
    """Items so small that several share a mark: if the worker is lost, nobody knows which of them was to blame."""
    check: bool = False
    """Nothing is to run: the result of an item that its task takes is null."""
    ranges: tuple[tuple[int, int], ...] = ()
    """Of indexes (first, stop), one after the other, where the items are not of contiguous ones."""

    @property
    def stop(self) -> int:
        """The place behind its last."""
        return self.first + self.count

    def __contains__(self, index: int) -> bool:
        """Whether it has the item."""
        return any(first <= index < stop for first, stop in self.among(self.first, self.stop))

    def index(self, place: int) -> int:
        """Of the item there."""
        return self.among(place, place + 1)[0][0]

    def among(self, first: int, stop: int) -> Sequence[tuple[int, int]]:
        """The ranges of indexes of the items at these places."""
        if not self.ranges:
            return ((first, stop),)
        found, place = [], self.first
        for begin, end in self.ranges:
            start, upto = max(begin, begin + first - place), min(end, begin + stop - place)
            if start < upto:
                found.append((start, upto))
            place += end - begin
        return found


class Listener(Protocol):
    """Who hears what becomes of chunks: for each, any number of `part`, `unlucky` and `recalled`, then `ended` or
    `lost`.  Items are told by their places.
    """

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        """Items `first` … `first + count - 1` have their final results, `lines`; these name `files`."""
        ...

    def unlucky(self, chunk_id: int, place: int, error: Mapping[str, Any]) -> None:
        """The item raised with attempts to spare: it has no result yet and should run again."""
        ...

    def printed(self, chunk_id: int, place: int, text: str) -> None:
        """What an item that succeeded has written to stdout, stderr and logs."""
        ...

    def progress(self, chunk_id: int, place: int, share: float, message: str) -> None:
        """How far the running item says it is."""
        ...

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        """The worker is through, which took it `seconds`; items from `stop` on were recalled in time."""
        ...

    def recalled(self, chunk_id: int, stop: int) -> None:
        """Items from `stop` on were taken back before they started; the chunk is without them from now on.

        `ended` or `lost` still follows, also if none is left.
        """
        ...

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        """The worker is gone; items from `first` on have no outcome.

        `culprit` is the one that was running, and `error` its failure: `kind` (`crashed`, `timeout`,
        `cancelled`), `type`, `message`.  None if no item is to blame.
        """
        ...

    def room(self) -> None:
        """There may be more room than before."""
        ...


class WorkerView(Protocol):
    """One worker, as `GET /v1/pool` shows it."""

    @property
    def id(self) -> int: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def state(self) -> str: ...
    @property
    def task(self) -> str | None: ...
    @property
    def item(self) -> int | None: ...
    @property
    def chunk_id(self) -> int | None: ...
    @property
    def item_seconds(self) -> float | None:
        """How long the item has been running, as far as was looked."""
        ...

    @property
    def items_done(self) -> int: ...


class Engine(Protocol):
    """Runs chunks on workers.  Never blocks; every event comes on the event loop."""

    async def start(self, listener: Listener) -> None:
        """Be ready to run.  The listener is called on the event loop."""
        ...

    async def stop(self) -> None:
        """End every worker at once; what was running gets no event."""
        ...

    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """The tasks it can run, by name, each as its worker describes it."""
        ...

    def size(self, pool: PoolName) -> int:
        """How many workers the pool has when it is whole."""
        ...

    def room(self, pool: PoolName, *, concurrency: int, alone: bool) -> Room:
        """What room there is for a chunk like this."""
        ...

    def run(self, chunk: Chunk, pool: PoolName) -> None:
        """Send a chunk.  Only where there is room."""
        ...

    def taken(self, chunk_id: int) -> float:
        """How many seconds its worker has been at the chunk; 0 while it waits there, or is gone."""
        ...

    def recall(self, chunk_id: int) -> None:
        """Start none of its further items.  `ended` or `lost` follows; harmless if the chunk is gone."""
        ...

    def cancel(self, chunk_id: int) -> bool:
        """Recall it, and end the item of it that runs, kindly, then by force; whether one was running."""
        ...

    def kill(self, chunk_id: int) -> bool:
        """As `cancel`, but by force at once where the worker runs nothing of others; whether an item was running."""
        ...

    def pools(self) -> Sequence[PoolName]: ...

    def resize(self, pool: PoolName, processes: int) -> None:
        """Grow at once; shrink as workers come to the end of the items they run.  No item is lost."""
        ...

    @property
    def memory_short(self) -> bool:
        """Whether nothing starts for want of memory."""
        ...

    def workers(self, pool: PoolName) -> Sequence[WorkerView]: ...

    def restarts(self, pool: PoolName) -> int:
        """How many workers were replaced since the start."""
        ...
