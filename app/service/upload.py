"""Items on their way in.

How it works: what comes is gathered, and stored a batch at a time while the next one comes.  What is less than a batch
is stored with its job, as if it had come as a whole.

Invariant: there are at most two batches and what was added last in memory, whatever the size of the upload.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from app.domain.item import Block
from app.domain.job import Job
from app.domain.store import JobStore
from app.service.naming import named_in
from app.service.quotas import Taking

CheckFiles = Callable[[Sequence[str]], Awaitable[None]]

BATCH_BYTES = 1 << 20


class Upload:
    """Items of a job that does not exist yet."""

    def __init__(
        self,
        name: str,
        store: JobStore,
        taking: Taking,
        check_files: CheckFiles,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self.name = name
        self._batch_bytes = batch_bytes
        self._store = store
        self._taking = taking
        self._check_files = check_files
        self._blocks: list[Block] = []
        self._named: list[str] = []
        """Files that these blocks name."""
        self._size = 0
        self.begun = False
        """Whether the store has, or is about to have, something of it that is no job's."""
        self._storing: asyncio.Task[None] | None = None
        """The batch before them."""
        self.count = 0

    async def add(self, blocks: Sequence[Block], texts: Sequence[bytes] = ()) -> None:
        """The next items; `texts` may name files besides them.  They are stored later, at the latest by `commit`.

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
        if self._size >= self._batch_bytes:
            await self._begin_batch()

    async def commit(self, job: Job, idempotency_key: str | None = None) -> Sequence[Block]:
        """All that was added becomes the job's.  Its items, if they are at hand.

        Conflict as with `JobStore.create_job`, ServiceError if it cannot be stored; then the upload stays.
        """
        if not self.begun:
            await self._store.create_job(job, self._blocks, idempotency_key, self._named)
            return self._blocks
        if self._blocks or self._named:
            await self._begin_batch()
        await self._stored()
        await self._store.commit_upload(self.name, job, idempotency_key)
        self.begun = False
        return ()

    async def discard(self) -> None:
        """Leave nothing behind."""
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
        await self._store.discard_upload(self.name)

    async def _begin_batch(self) -> None:
        await self._stored()
        batch = self._store_batch(self._blocks, self._named, first=not self.begun)
        self.begun = True
        self._storing = asyncio.get_running_loop().create_task(batch)
        self._blocks, self._named, self._size = [], [], 0

    async def _store_batch(self, blocks: Sequence[Block], named: Sequence[str], *, first: bool) -> None:
        if first:
            await self._store.begin_upload(self.name)
        await self._store.add_blocks(self.name, blocks, named)

    async def _stored(self) -> None:
        """Return once nothing is being stored any more."""
        if self._storing is not None:
            await self._storing
            self._storing = None
