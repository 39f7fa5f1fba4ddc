"""Some items of a finished job again, as a new job.

Invariant: the new job has all of the selected items, or there is none.
"""

import hashlib
import json

from app.domain.errors import Conflict, Fault, Invalid
from app.domain.item import Block
from app.domain.job import Job
from app.service.inputs import Inputs, Selection
from app.service.intake import BLOCK_BYTES
from app.service.jobs import Accepted, Draft, Jobs


async def retry(
    jobs: Jobs, inputs: Inputs, job_id: str, selection: Selection, idempotency_key: str | None
) -> Accepted:
    """A new job of the selected items, which are copied a block at a time, with the options of the old one.

    NotFound, Gone, Conflict if the job has not finished or has none of these items, UnknownTask, Invalid if nothing
    failed like that.
    """
    job = (await jobs.get(job_id)).job
    if not job.status.finished:
        raise Conflict(f"Job {job.id!r} is {job.status}; wait until it has finished, or cancel it.")
    jobs.task(job.task)
    draft = _draft(job, selection, idempotency_key)
    if earlier := await jobs.earlier(draft):
        return earlier
    async with jobs.upload(draft) as upload:
        async for lines in inputs.pieces(job, selection, BLOCK_BYTES // 2):
            await upload.add([Block(upload.count, lines.count, lines.text)])
        if not upload.count:
            raise _nothing(job, selection)
        return await jobs.commit(upload, draft)


def _nothing(job: Job, selection: Selection) -> Invalid | Conflict:
    """Why there is no new job: one without items would look as if all had gone well."""
    if selection.error_group is not None:
        detail = f"no failure of job {job.id!r} is in this group; GET /v1/jobs/{job.id}/errors lists them"
        return Invalid(f"/error_group: {detail}.", [Fault(detail, pointer="/error_group")])
    counts = job.counts
    return Conflict(
        f"Job {job.id!r} has no {selection.select} items, so there is nothing to run again:"
        f" of {counts.total:,}, {counts.failed:,} failed"
        f" and {counts.cancelled:,} were cancelled, which is unfinished too."
    )


def _draft(job: Job, selection: Selection, idempotency_key: str | None) -> Draft:
    told = ["retry", job.id, selection.select, selection.error_group]
    return Draft(
        task=job.task,
        options=job.options,
        params=job.params,
        fingerprint=hashlib.sha256(json.dumps(told).encode()).hexdigest(),
        idempotency_key=idempotency_key,
        label=job.label,
        metadata=job.metadata,
        retry_of=job.id,
    )
