"""The items of running jobs, at hand since they came, or read from the store a block at a time.

Invariant: what is kept is bounded in bytes for all jobs together; what is dropped can be read again.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

import msgspec

from app.domain.apart import RANGES_MAX, Range
from app.domain.item import Block, cut, number_of_lines
from app.domain.store import JobStore

CACHE_BYTES = 64 << 20
READ_BYTES = 32 << 20
"""Of blocks that jobs had some items of, but for the one used last: thousands of jobs may share the workers."""
BLOCK_BYTES = 400
"""What a block takes besides its lines: of items that come one by one, most."""
JOINED_BYTES = 256 << 10
"""So much of blocks that follow each other is taken as one, as if it had been sent so."""
BLOCKS_MAX = 1_000
"""Of such, before others have the loop."""
FORGOTTEN_AT_ONCE = 1_000
"""Blocks of a job that is over, before others have the loop."""
_EXACT_BELOW = 64
_GUESSES_MAX = 4


class ItemCache:
    """The blocks that came last, and those that jobs are at.

    Of those that a job had items of, the ones that were used last; what was read for a job stays until it has some.
    """

    def __init__(
        self, store: JobStore, bytes_max: int = CACHE_BYTES, read_bytes_max: int = READ_BYTES
    ) -> None:
        self._store = store
        self._left = bytes_max
        self._read_left = read_bytes_max
        self._readers: dict[str, BlockReader] = {}
        """By job id."""
        self._used: OrderedDict[str, int] = OrderedDict()
        """Those that were used, by job id: how many bytes they take."""
        self._blocks: OrderedDict[tuple[str, int], Block] = OrderedDict()
        self._firsts: dict[str, dict[int, None]] = {}
        """With which items the blocks of a job begin, by its id."""

    def put(self, job_id: str, *blocks: Block) -> None:
        """Keep these, dropping those not used for longest."""
        for block in blocks:
            if (job_id, block.first) in self._blocks:
                self._drop((job_id, block.first))
            self._blocks[job_id, block.first] = block
            self._firsts.setdefault(job_id, {})[block.first] = None
            self._left -= BLOCK_BYTES + len(block.lines)
            while self._left < 0 and len(self._blocks) > 1:
                self._drop(next(iter(self._blocks)))

    def __contains__(self, place: tuple[str, int]) -> bool:
        """Whether the block of this job that starts with this item is here."""
        job_id, first = place
        return first in self._firsts.get(job_id, ())

    def pop(self, job_id: str, first: int) -> Block | None:
        """The block that starts with item `first`, if it is here, with small ones behind it; kept no longer."""
        blocks: list[Block] = []
        size = 0
        while (job_id, first) in self and len(blocks) < BLOCKS_MAX:
            size += len(self._blocks[job_id, first].lines)
            if blocks and size > JOINED_BYTES:
                break
            block = self._drop((job_id, first))
            assert block is not None, "it is here"
            blocks.append(block)
            first = block.stop
        return joined(blocks) if blocks else None

    def forget(self, job_id: str) -> None:
        """The job is over; another may come under its id."""
        self._let_go(job_id)
        if firsts := self._firsts.pop(job_id, None):
            self._forget(job_id, deque(firsts))

    def _forget(self, job_id: str, firsts: deque[int]) -> None:
        """Drop these blocks of a job that is over, some at a time; those of another one under its id stay."""
        for _ in range(min(FORGOTTEN_AT_ONCE, len(firsts))):
            place = (job_id, firsts.popleft())
            if place not in self:
                self._drop(place)
        if firsts:
            asyncio.get_running_loop().call_soon(self._forget, job_id, firsts)

    def read_from(self, job_id: str, block: Block) -> None:
        """The job is at this block now."""
        self._let_go(job_id)
        self._readers[job_id] = BlockReader(block)

    def reader(self, job_id: str, index: int) -> "BlockReader | None":
        """That of the block the job is at, if it is here and holds item `index`."""
        reader = self._readers.get(job_id)
        return reader if reader is not None and index in reader else None

    def used(self, job_id: str) -> None:
        """The job had items of the block it is at; others that were not used for longest go for its room."""
        size = BLOCK_BYTES + len(self._readers[job_id].block.lines)
        self._read_left += self._used.pop(job_id, 0) - size
        self._used[job_id] = size
        while self._read_left < 0 and len(self._used) > 1:
            self._let_go(next(iter(self._used)))

    async def load(self, job_id: str, index: int) -> Block:
        """Read the block that holds item `index`, and small ones behind it."""
        block = await read_joined(self._store, job_id, index)
        assert block is not None, f"job {job_id} has no item {index}"
        return block

    def _let_go(self, job_id: str) -> None:
        self._readers.pop(job_id, None)
        self._read_left += self._used.pop(job_id, 0)

    def _drop(self, key: tuple[str, int]) -> Block | None:
        block = self._blocks.pop(key, None)
        if block is not None:
            self._left += BLOCK_BYTES + len(block.lines)
            job_id, first = key
            if firsts := self._firsts.get(job_id):
                firsts.pop(first, None)
                if not firsts:
                    del self._firsts[job_id]
        return block


async def read_joined(store: JobStore, job_id: str, index: int) -> Block | None:
    """The block with the item, and small ones behind it, as one."""
    blocks = await store.read_blocks(job_id, index, bytes_max=JOINED_BYTES)
    return joined(blocks) if blocks else None


def joined(blocks: Sequence[Block]) -> Block:
    """The block of all these, each of which begins where the one before ends."""
    if len(blocks) == 1:
        return blocks[0]
    lines = b"".join([block.lines for block in blocks])
    return Block(blocks[0].first, blocks[-1].stop - blocks[0].first, lines)


class BlockReader(msgspec.Struct, gc=False):
    """Takes lines out of one block, cheaply if from where the last ones ended."""

    block: Block
    _index: int = 0
    """Of the item at `_offset`."""
    _offset: int = 0

    def __post_init__(self) -> None:
        self._index = self.block.first

    def __contains__(self, index: int) -> bool:
        return self.block.first <= index < self.block.stop

    def take(self, index: int, most: int, bytes_max: int, *, exactly: bool) -> tuple[bytes, int]:
        """Lines from item `index` on, and their number: at least one, at most `most`, up to the block's end.

        Unless `exactly`, a large number is only approached, which costs nothing per line.
        """
        lines = self.block.lines
        if index < self._index:
            self._index, self._offset = self.block.first, 0
        start = cut(lines, self._offset, index - self._index)
        end, count = _cut_about(
            lines, start, min(most, self.block.stop - index), self.block.stop - index, exactly
        )
        if end - start > bytes_max and count > 1:
            end = max(lines.rfind(b"\n", start, start + bytes_max), lines.find(b"\n", start)) + 1
            count = number_of_lines(lines, start, end)
        self._index, self._offset = index + count, end
        return lines[start:end], count

    @property
    def indexes(self) -> range:
        """Of its items."""
        return range(self.block.first, self.block.stop)

    def take_some(
        self, ranges: Iterable[Range], most: int, bytes_max: int, *, exactly: bool
    ) -> tuple[bytes, tuple[Range, ...]]:
        """The same of several ranges (first, stop), the first of which begins here; and of which ranges they are."""
        parts: list[bytes] = []
        taken: list[Range] = []
        for first, stop in ranges:
            if parts and (first not in self or not most or len(parts) == RANGES_MAX):
                break
            lines, count = self.take(first, min(most, stop - first), bytes_max, exactly=exactly)
            if parts and len(lines) > bytes_max:
                break
            if taken and taken[-1][1] == first:
                taken[-1] = taken[-1][0], first + count
            else:
                taken.append((first, first + count))
            parts.append(lines)
            most, bytes_max = most - count, bytes_max - len(lines)
            if count < stop - first:
                break
        return b"".join(parts), tuple(taken)


def _cut_about(lines: bytes, start: int, wanted: int, left: int, exactly: bool) -> tuple[int, int]:
    if wanted == left:
        return len(lines), left
    if exactly or wanted < _EXACT_BELOW:
        return cut(lines, start, wanted), wanted
    guess = start + wanted * (len(lines) - start) // left
    for _ in range(_GUESSES_MAX):
        end = lines.rfind(b"\n", start, guess) + 1
        count = number_of_lines(lines, start, end)
        if 0 < count <= wanted:
            return end, count
        if count == 0:
            break
        guess = start + (wanted - 1) * (end - start) // count  # they are shorter here than further on
    return cut(lines, start, wanted), wanted
