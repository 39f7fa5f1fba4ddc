"""Many jobs in one answer, encoded some at a time."""

import asyncio

import msgspec

from app.api.schemas import job_document
from app.service.view import JobView

AT_ONCE = 50
"""Jobs, before others have the loop."""
AT_ONCE_BYTES = 256 << 10
"""The same for what they are encoded to: `params` and `metadata` may be 80 KiB of one."""


class JobPage:
    """Jobs as JSON, each as it was when it was added."""

    def __init__(self) -> None:
        self.jobs: list[bytes] = []
        self._since = self._bytes_since = 0

    async def add(self, view: JobView) -> None:
        job = msgspec.json.encode(job_document(view))
        self.jobs.append(job)
        self._since += 1
        self._bytes_since += len(job)
        if self._since >= AT_ONCE or self._bytes_since >= AT_ONCE_BYTES:
            self._since = self._bytes_since = 0
            await asyncio.sleep(0)
