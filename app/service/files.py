"""Files that callers upload and tasks make."""

import copy

from app.domain.caller import ANYBODY, Caller
from app.domain.clock import Clock
from app.domain.errors import NotFound
from app.domain.store import JobStore, StoredFile


class Files:
    """What is known of stored files."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._caller = ANYBODY

    def of(self, caller: Caller) -> "Files":
        """Files as this caller has them: what it uploaded, and what its jobs made."""
        files = copy.copy(self)
        files._caller = caller
        return files

    async def note(self, file_id: str, size_bytes: int, name: str | None, media_type: str) -> None:
        """Remember an uploaded file; the same bytes again change nothing."""
        file = StoredFile(file_id, size_bytes, name, media_type, self._clock.now(), self._caller.name)
        await self._store.add_file(file)

    async def find(self, file_id: str) -> StoredFile | None:
        """What was told at its upload; None for a file that a task made.  NotFound if the caller has no such file."""
        own = self._caller.sees_only
        if own is not None and await self._store.strange_files([file_id], own):
            raise NotFound(f"There is no file {file_id!r}.")
        return await self._store.get_file(file_id, own)

    async def forget(self, file_id: str) -> bool:
        """Whether nobody has it any more, as far as is known.  NotFound if the caller has no such file.

        Conflict if a job of the caller names it, as it does each file that a task made for it.
        """
        await self.find(file_id)
        return await self._store.delete_file(file_id, self._caller.sees_only)
