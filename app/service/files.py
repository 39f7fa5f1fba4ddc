"""Files that callers upload and tasks make."""

from app.domain.clock import Clock
from app.domain.errors import NotFound
from app.domain.store import JobStore, StoredFile


class Files:
    """What is known of stored files."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(self, file_id: str, size_bytes: int, name: str | None, media_type: str) -> None:
        """Remember an uploaded file; the same bytes again change nothing."""
        await self._store.add_file(StoredFile(file_id, size_bytes, name, media_type, self._clock.now()))

    async def find(self, file_id: str) -> StoredFile | None:
        """What was told at its upload; None for a file that a task made."""
        return await self._store.get_file(file_id)

    async def forget(self, file_id: str) -> None:
        """Conflict if a job names it; NotFound if nobody uploaded it."""
        if await self._store.get_file(file_id) is None:
            raise NotFound(f"There is no uploaded file {file_id[:80]!r}.")
        await self._store.delete_file(file_id)
