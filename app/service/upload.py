"""Items on their way in.

How it works: what comes is gathered, and stored a batch at a time while the next one comes.

Invariant: there are at most two batches and what was added last in memory, whatever the size of the upload.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from app.domain.item import Block
from app.domain.store import JobStore
from app.service.naming import named_in
from app.service.quotas import Taking

CheckFiles = Callable[[Sequence[str]], Awaitable[None]]

BATCH_BYTES = 1 << 20


class Upload:
    """Items of a job that does not exist yet."""

    def __init__(self, name: str, store: JobStore, taking: Taking, check_files: CheckFiles) -> None:
        self.name = name
        self._store = store
        self._taking = taking
        self._check_files = check_files
        self._blocks: list[Block] = []
        self._named: list[str] = []
        """Files that these blocks name."""
        self._size = 0
        self._storing: asyncio.Task[None] | None = None
        """The batch before them."""
        self.count = 0
        self.committed = False

    async def add(self, blocks: Sequence[Block], texts: Sequence[bytes] = ()) -> None:
        """The next items; `texts` may name files besides them.  They are stored later, at the latest by `complete`.

        OverQuota if that is too much, Invalid if one names a file that the caller does not have, ServiceError if an
        earlier batch cannot be stored.
        """
        named = await named_in(*texts, *(block.lines for block in blocks))
        count, size = sum(block.count for block in blocks), sum(len(block.lines) for block in blocks)
        await self._taking.add(count, size)
        await self._check_files(named)
        self._blocks += blocks
        self._named += named
        self._size += size
        self.count += count
        if self._size >= BATCH_BYTES:
            await self._begin_batch()

    async def complete(self) -> None:
        """Return once all that was added is stored.  ServiceError if it cannot be."""
        if self._blocks or self._named:
            await self._begin_batch()
        await self._stored()

    async def discard(self) -> None:
        """Leave nothing behind."""
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
        await self._store.discard_upload(self.name)

    async def _begin_batch(self) -> None:
        await self._stored()
        batch = self._store.add_blocks(self.name, self._blocks, self._named)
        self._storing = asyncio.get_running_loop().create_task(batch)
        self._blocks, self._named, self._size = [], [], 0

    async def _stored(self) -> None:
        """Return once nothing is being stored any more."""
        if self._storing is not None:
            await self._storing
            self._storing = None
