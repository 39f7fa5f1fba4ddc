"""Lets go of what is over: jobs whose time has come, files that nobody names, old keys and tombstones.

How it works: a round every `round_seconds`.  What there is to do is cut into steps of a few milliseconds, and
after each the store is left to others for as long as the step took, so that no request waits for a round.

Invariant: an unfinished job, and a file that a job names, are never let go.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from app.domain.clock import Clock
from app.domain.errors import ServiceError
from app.domain.store import JobStore
from app.service.space import Space

STEP_JOBS_MAX = 100
STEP_ROWS_MAX = 1_000
STEP_FILES_MAX = 200
STEP_BYTES_MIN = 4 << 10
STEP_BYTES_MAX = 512 << 10
STEP_SECONDS = 0.005
"""What a step of sweeping should take: others wait for it."""
PAUSE_SECONDS_MIN = 0.002

log = logging.getLogger(__name__)


class FileDirectory(Protocol):
    """Where stored files are, in sections."""

    async def sections(self) -> Sequence[Path]: ...

    async def older(self, section: Path, before: float) -> Sequence[str]:
        """Ids of files that were written last before that time (Unix, seconds)."""
        ...

    async def remove(self, file_ids: Sequence[str], before: float) -> int:
        """Remove those that were not written since; how many."""
        ...


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long, in seconds."""

    tombstones: float
    keys: float
    files: float
    """A file that no job names, after it was written last."""


class Retention:
    """Rounds of letting go, until stopped."""

    def __init__(
        self,
        store: JobStore,
        files: FileDirectory,
        space: Space,
        clock: Clock,
        keeping: Keeping,
        round_seconds: float,
    ) -> None:
        self._store = store
        self._files = files
        self._space = space
        self._clock = clock
        self._keeping = keeping
        self._round_seconds = round_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End, at once: what is left is for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except ServiceError as error:
                log.warning("what has expired cannot be deleted now: %s", error.detail)
            except Exception:
                log.exception("a round of retention failed; the next is in %g s", self._round_seconds)
            await asyncio.sleep(self._round_seconds)

    async def round(self) -> None:
        """Let go of everything whose time has come."""
        expired = 0
        while jobs := await self._store.expire_jobs(self._clock.now(), STEP_JOBS_MAX):
            expired += len(jobs)
            await self._pause(0.0)
        await self._sweep()
        await self._forget()
        files = await self._remove_files()
        await self._space.measure()
        if expired or files:
            log.info("%d jobs have expired, %d files that no job names are gone", expired, files)

    async def _sweep(self) -> None:
        """Free what was deleted.  How much that is in a given time differs by a hundred times: it is tried out."""
        size = STEP_BYTES_MIN
        while True:
            began = self._clock.monotonic()
            if not await self._store.sweep(size):
                return
            took = self._clock.monotonic() - began
            size = size // 2 if took > STEP_SECONDS else size * 2
            size = min(max(size, STEP_BYTES_MIN), STEP_BYTES_MAX)
            await self._pause(took)

    async def _forget(self) -> None:
        now = self._clock.now()
        while await self._store.forget(
            tombstones_before=now - timedelta(seconds=self._keeping.tombstones),
            keys_before=now - timedelta(seconds=self._keeping.keys),
            rows_max=STEP_ROWS_MAX,
        ):
            await self._pause(0.0)

    async def _remove_files(self) -> int:
        before = self._clock.now().timestamp() - self._keeping.files
        removed = 0
        for section in await self._files.sections():
            old = await self._files.older(section, before)
            for start in range(0, len(old), STEP_FILES_MAX):
                unused = await self._store.forget_files(old[start : start + STEP_FILES_MAX])
                removed += await self._files.remove(unused, before)
        return removed

    async def _pause(self, took_seconds: float) -> None:
        """Leave the store to others for as long as we had it."""
        await asyncio.sleep(max(PAUSE_SECONDS_MIN, took_seconds))
