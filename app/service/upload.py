"""Items on their way in."""

from collections.abc import Awaitable, Callable, Sequence

from app.domain.item import Block, files_named
from app.domain.store import JobStore
from app.service.quotas import Taking

CheckFiles = Callable[[Sequence[str]], Awaitable[None]]


class Upload:
    """Items of a job that does not exist yet."""

    def __init__(self, name: str, store: JobStore, taking: Taking, check_files: CheckFiles) -> None:
        self.name = name
        self._store = store
        self._taking = taking
        self._check_files = check_files
        self.count = 0
        self.committed = False

    async def add(self, blocks: Sequence[Block], texts: Sequence[bytes] = ()) -> None:
        """The next items; `texts` may name files besides them.

        OverQuota if that is too much, Invalid if one names a file that the caller does not have.
        """
        named = files_named(*texts, *(block.lines for block in blocks))
        count = sum(block.count for block in blocks)
        await self._taking.add(count, sum(len(block.lines) for block in blocks))
        await self._check_files(named)
        if blocks or named:
            await self._store.add_blocks(self.name, blocks, named)
        self.count += count
