"""What one caller sees of all that is here.

Invariant: whatever is looked for by its id is looked for through this, each time anew.  An id may be another
caller's the next moment: its job was deleted, and the id taken again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.caller import Caller
from app.domain.errors import Gone, Invalid, NotFound
from app.domain.job import Job
from app.domain.store import JobStore, Tombstone
from app.service.live import LiveJob


@dataclass(frozen=True, slots=True)
class Sight:
    """Jobs as this caller has them: another's look like none."""

    caller: Caller
    store: JobStore
    all_live: Mapping[str, LiveJob]

    def live(self, job_id: str) -> LiveJob | None:
        """The job if it is not finished."""
        live = self.all_live.get(job_id)
        return live if live and self.caller.sees(live.job.submitted_by) else None

    async def job(self, job_id: str) -> Job | None:
        job = await self.anybodys_job(job_id)
        return job if job and self.caller.sees(job.submitted_by) else None

    async def anybodys_job(self, job_id: str) -> Job | None:
        """The job, whoever's it is: only to know that an id is taken."""
        live = self.all_live.get(job_id)
        return live.job if live else await self.store.get_job(job_id)

    async def tombstone(self, job_id: str) -> Tombstone | None:
        tombstone = await self.store.tombstone(job_id)
        return tombstone if tombstone and self.caller.sees(tombstone.submitted_by) else None

    async def absent(self, job_id: str) -> NotFound | Gone:
        """Why there is no such job."""
        if tombstone := await self.tombstone(job_id):
            at = tombstone.expired_at.isoformat(timespec="seconds").replace("+00:00", "Z")
            return Gone(f"Job {job_id!r} was deleted at {at}, its retention_seconds being over.")
        return NotFound(f"There is no job {job_id[:64]!r}.")

    async def check_files(self, task: Mapping[str, Any], file_ids: Sequence[str]) -> None:
        """Invalid if the caller does not have one of the files that it names to a task that takes any.

        A file that is another's and one that is nobody's are told alike.  Other tasks only hand such a name back.
        """
        only = self.caller.sees_only
        if only is None or not file_ids or not _takes_files(task):
            return
        if await self.store.strange_files(file_ids, only):
            raise Invalid(
                "The items or params name a file that you neither uploaded nor got from a job;"
                " upload it with POST /v1/files first."
            )

    def ticket(self, job_id: str) -> str | None:
        """What lets a browser, which sends no key, watch this job."""
        return self.caller.make_ticket(job_id) if self.caller.make_ticket else None

    def own_key(self, idempotency_key: str | None) -> str | None:
        """The key among those of all callers: neither a name nor a key has a space in it."""
        if idempotency_key is None or self.caller.name is None:
            return idempotency_key
        return f"{self.caller.name} {idempotency_key}"


def _takes_files(schema: object) -> bool:
    """Whether a file is declared anywhere in what a task says of itself."""
    if isinstance(schema, Mapping):
        return schema.get("format") == "millpond-file" or any(map(_takes_files, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_takes_files, schema))
