"""Which sessions were ended early, in a file of the data directory, next to the secret that seals them.

How it works: a line for each has the session's name and the time until which it would have lasted.  Lines are only
added; a line cut short by a crash, and lines whose time is over, are dropped when the file is read, and when it has
doubled.

Invariant: when `add` returns, the next process knows too.
"""

import asyncio
import os
import tempfile
from datetime import datetime
from pathlib import Path

from app.domain.errors import ServiceError
from app.stores.names import put, sync_directory

LINES_MIN = 1_000
"""A smaller file is not looked through for lines that can go."""


class EndedSessions:
    """An `Ended`.  One process at a time has the file."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Those whose time is not over.  ServiceError if the file cannot be read."""
        self._path = path
        self._until: dict[str, float] = {}
        self._enough = LINES_MIN
        self._writing = asyncio.Lock()
        try:
            text = path.read_text() if path.exists() else ""
            for line in text.split("\n")[:-1]:
                until, _, session = line.partition(" ")
                self._until[session] = float(until)
            if text:
                self._rewrite(now)
        except (OSError, ValueError) as error:
            raise ServiceError(f"{path}: {error}. It holds which sessions were ended.") from error

    def __contains__(self, session: str) -> bool:
        return session in self._until

    async def add(self, session: str, until: datetime, now: datetime) -> None:
        line = f"{until.timestamp()} {session}\n"
        async with self._writing:
            await asyncio.to_thread(self._append, line)
            self._until[session] = until.timestamp()
            if len(self._until) >= self._enough:
                await asyncio.to_thread(self._rewrite, now)

    def _append(self, line: str) -> None:
        with open(self._path, "a", opener=_for_nobody_else) as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._path.parent)  # it may be new

    def _rewrite(self, now: datetime) -> None:
        """Write the file anew, without sessions whose time is over."""
        kept = {session: until for session, until in self._until.items() if until > now.timestamp()}
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=".ended-", delete=False) as new:
            new.writelines(f"{until} {session}\n" for session, until in kept.items())
            new.flush()
            os.fsync(new.fileno())
        put(new.name, self._path)
        self._until, self._enough = kept, max(LINES_MIN, 2 * len(kept))


def _for_nobody_else(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
