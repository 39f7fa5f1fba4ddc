"""What callers can do with jobs: submit, look, wait, read, cancel, delete.

Invariant: what a caller was told was accepted is stored; what a caller does not see is not there for it.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from app.domain.caller import ANYBODY, Caller
from app.domain.clock import Clock, new_id
from app.domain.engine import Engine
from app.domain.errors import Conflict, Gone, Invalid, Unavailable, UnknownTask
from app.domain.guess import closest
from app.domain.halt import Receipt
from app.domain.item import Block, Page, View
from app.domain.job import Counts, Event, Job, Options, Status, ended
from app.domain.store import Extent, JobStore, Query
from app.service.admission import Admission, Limits
from app.service.dispatcher import Dispatcher
from app.service.feed import Bell
from app.service.live import LiveJob
from app.service.naming import named_in
from app.service.quotas import Quotas
from app.service.recent import Recent
from app.service.sight import Sight
from app.service.upload import BATCH_BYTES, Upload
from app.service.view import JobView, stopped_by

PAGE_BYTES_MAX = 1 << 20
WAIT_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 10.0
"""How long a request waits for the service to start: at a restart most clients do not even notice."""


class Draft(msgspec.Struct, frozen=True):
    """A submission without its items."""

    task: str
    options: Options
    params: Mapping[str, Any]
    fingerprint: str | None = None
    """Of all that was sent; there must be one if an id or a key was chosen."""
    job_id: str | None = None
    """The caller's own id, if it chose one."""
    idempotency_key: str | None = None
    label: str | None = None
    metadata: Mapping[str, Any] | None = None
    retry_of: str | None = None
    open: bool = False
    """Whether more items will come."""


class Accepted(msgspec.Struct, frozen=True):
    """The job of a submission, and whether an earlier one had made it."""

    job_id: str
    replayed: bool = False
    checked: bool = False
    """Whether each of its items was checked first."""


class Jobs:
    """The service.  All of it runs on the event loop."""

    def __init__(
        self,
        store: JobStore,
        dispatcher: Dispatcher,
        engine: Engine,
        clock: Clock,
        limits: Limits,
        make_id: Callable[[datetime], str] = new_id,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        """`batch_bytes` of an upload are stored while more come."""
        self._make_id = make_id
        self._batch_bytes = batch_bytes
        self._store = store
        self._dispatcher = dispatcher
        self._engine = engine
        self._clock = clock
        self.checking = dispatcher.checking
        self._sight = Sight(ANYBODY, store, dispatcher.live)
        self.quotas = Quotas(store, dispatcher.tallies, clock)
        self._uploading: set[str | None] = set()
        """Idempotency keys of uploads that are on their way."""
        self._ready = asyncio.Event()
        self.closing = asyncio.Event()
        """Set when the service is asked to stop: streams end, and nothing new is taken."""
        self.admission = Admission(dispatcher, self.closing, limits)

    def of(self, caller: Caller) -> "Jobs":
        """The service as this caller has it."""
        jobs = copy.copy(self)
        jobs._sight = Sight(caller, self._store, self._dispatcher.live)
        jobs.quotas = self.quotas.of(caller)
        return jobs

    # -- Tasks

    def task(self, name: str) -> Mapping[str, Any]:
        """The task as its worker describes it.  UnknownTask, with a guess at what was meant."""
        tasks = self._engine.tasks()
        if name in tasks:
            return tasks[name]
        close = closest(name, tasks)
        hint = f" Did you mean {close!r}?" if close else " GET /v1/tasks lists those there are."
        raise UnknownTask(f"No task is called {name[:100]!r}.{hint}")

    def tasks(self) -> Sequence[Mapping[str, Any]]:
        return list(self._engine.tasks().values())

    # -- Submitting

    @property
    def ready(self) -> bool:
        """Whether the workers are there and every unfinished job is known again."""
        return self._ready.is_set()

    def open(self) -> None:
        """The service has started."""
        self._ready.set()

    async def wait_ready(self, seconds: float = READY_SECONDS_MAX) -> None:
        """Return once the service has started; Unavailable if that takes longer."""
        if not self.ready:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), seconds)
        if not self.ready:
            raise Unavailable("The service is starting and looks for unfinished jobs.", retry_after_seconds=1)

    def check_open(self) -> None:
        """Whether a submission would be taken, told before its body is read."""
        self.admission.check_job()

    async def check_files(self, task: str, files: Sequence[str]) -> None:
        """Invalid if these files, named by items of the task, are not all the caller's."""
        await self._sight.check_files(self.task(task), files)

    async def submit(self, draft: Draft, blocks: Sequence[Block]) -> Accepted:
        """Take a job whose items are at hand.  The same id or key with the same content is the same job."""
        if earlier := await self.earlier(draft):
            return earlier
        job = self._job(draft, sum(block.count for block in blocks))
        lines = [block.lines for block in blocks]
        files = await named_in(*lines, *([json.dumps(draft.params).encode()] if draft.params else ()))
        await self._sight.check_files(self.task(draft.task), files)
        async with self.quotas.job() as taking:
            await taking.add(job.counts.total, sum(map(len, lines)))
            try:
                await self._store.create_job(job, blocks, self._sight.own_key(draft.idempotency_key), files)
            except Conflict:
                if earlier := await self.earlier(draft):  # the same submission, at the same time
                    return earlier
                raise
        self._run(job, blocks)
        return Accepted(job.id)

    @asynccontextmanager
    async def upload(self, draft: Draft) -> AsyncIterator[Upload]:
        """Take a job whose items come in a stream; without a `commit` nothing is left behind.

        Of several under one id that are on their way at once, the first to be complete makes the job, and the
        others are compared with it.  Conflict while another one with the same Idempotency-Key is on its way.
        """
        key = self._sight.own_key(draft.idempotency_key)
        if key in self._uploading:
            raise Conflict(
                "What this Idempotency-Key is for is being uploaded right now; try again after that."
            )
        name = f"upload-{self._make_id(self._clock.now())}"
        check_files = partial(self._sight.check_files, self.task(draft.task))
        async with self.quotas.job() as taking:
            upload = Upload(name, self._store, taking, check_files, self._batch_bytes)
            if key is not None:
                self._uploading.add(key)
            try:
                await upload.add((), [json.dumps(draft.params).encode()])
                yield upload
            finally:
                self._uploading.discard(key)
                if upload.begun:
                    # Also when the request's own task is being cancelled: the clean-up must not be.
                    await asyncio.shield(asyncio.ensure_future(upload.discard()))

    async def commit(self, upload: Upload, draft: Draft) -> Accepted:
        """The upload is complete: its job exists from now on."""
        if earlier := await self.earlier(draft):
            return earlier
        job = self._job(draft, upload.count)
        try:
            blocks = await upload.commit(job, self._sight.own_key(draft.idempotency_key))
        except Conflict:
            if earlier := await self.earlier(draft):
                return earlier
            raise
        self._run(job, blocks)
        return Accepted(job.id)

    async def earlier(self, draft: Draft) -> Accepted | None:
        """The job that this very submission made before.

        Conflict or Invalid if another one did, Gone if its job is no more.
        """
        if draft.job_id is not None and (job := await self._sight.anybodys_job(draft.job_id)):
            if not self._sight.caller.sees(job.submitted_by):
                raise Conflict("This id is taken; choose another one.")
            if job.fingerprint == draft.fingerprint:
                return Accepted(job.id, replayed=True)
            raise Conflict(
                f"There is a job {job.id!r} already, made by another submission; choose another id,"
                " or DELETE that job once it has finished."
            )
        if draft.job_id is not None and await self._expired(draft.job_id, draft.fingerprint):
            raise Gone(
                f"Job {draft.job_id!r} was made by this very submission, and its retention is over;"
                " DELETE it to forget that too, or choose another id."
            )
        key = self._sight.own_key(draft.idempotency_key)
        if key is not None and (replay := await self._store.replay(key)):
            if replay.fingerprint == draft.fingerprint:
                if await self._sight.job(replay.job_id) is None:
                    raise Gone(
                        f"This Idempotency-Key made job {replay.job_id!r}, which is gone; use a new key."
                    )
                return Accepted(replay.job_id, replayed=True)
            raise Invalid(
                f"This Idempotency-Key was used for job {replay.job_id!r}, with another payload; use a new key."
            )
        return None

    def _job(self, draft: Draft, total: int) -> Job:
        now = self._clock.now()
        job = Job(
            id=draft.job_id or self._make_id(now),
            task=draft.task,
            status=Status.QUEUED,
            counts=Counts(total),
            options=draft.options,
            created_at=now,
            params=draft.params,
            label=draft.label,
            metadata=draft.metadata,
            submitted_by=self._sight.caller.name,
            sealed=not draft.open,
            retry_of=draft.retry_of,
            fingerprint=draft.fingerprint,
        )
        if total or draft.open:
            return job
        return replace(ended(job, Event.ALL_DONE, job.counts, now), started_at=now)

    def _run(self, job: Job, blocks: Sequence[Block]) -> None:
        self._dispatcher.changes.note(job)
        if not job.status.finished:
            self._dispatcher.submitted(job, blocks)

    # -- Looking

    async def get(self, job_id: str) -> JobView:
        """The job as it is now.  NotFound if there is none, Gone if its retention is over."""
        live = self._sight.live(job_id)
        if live is not None:
            return self.view(live)
        job = await self._sight.job(job_id)
        if job is None:
            raise await self._sight.absent(job_id)
        return self._at_rest(job)

    def view(self, live: LiveJob) -> JobView:
        """The job as it is now, or as it ended."""
        return self._at_rest(live.job) if live.job.status.finished else self._view(live)

    def live(self, job_id: str) -> LiveJob | None:
        """The job, if it is not finished."""
        return self._sight.live(job_id)

    def chunk_ids(self) -> set[int]:
        """What is with a worker right now."""
        caller, chunks = self._sight.caller, self._dispatcher.chunks
        return {chunk_id for chunk_id, live in chunks.items() if caller.sees(live.job.submitted_by)}

    async def list(self, query: Query) -> Iterator[JobView]:
        """Jobs, each as it is when it is taken: to look at a thousand takes a while."""
        jobs = await self._store.list_jobs(replace(query, submitted_by=self._sight.caller.sees_only))
        found = [(job, self._dispatcher.live.get(job.id)) for job in jobs]
        return (self.view(live) if live else self._at_rest(job) for job, live in found)

    async def wait(self, job_id: str, seconds: float) -> JobView:
        """The job once it has finished, or as it is after the time, or when the service is asked to stop."""
        deadline = self._clock.monotonic() + min(seconds, WAIT_SECONDS_MAX)
        while (live := self._sight.live(job_id)) is not None and not self.closing.is_set():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            await live.end.wait(live.end.rings, left)
            if live.job.status.finished:
                return self._at_rest(live.job, live.recent)
        return await self.get(job_id)

    def bell(self, job_id: str) -> Bell | None:
        """What rings when the job changes; None if it can change no more."""
        live = self._looked_at(job_id)
        return live.bell if live else None

    def close(self) -> None:
        """The service will stop: wake everybody who waits, so that they see it."""
        self.closing.set()
        for live in self._dispatcher.live.values():
            live.wake()

    async def results(
        self, job_id: str, view: View, after: int, lines_max: int, bytes_max: int = PAGE_BYTES_MAX
    ) -> Page:
        """Lines of the job's results after the first `after` of the view.

        NotFound or Gone if the job has gone: else a reader would take that for the end of its results.
        """
        live = self._looked_at(job_id)
        if live is not None and after >= live.job.counts.lines(view.outcome):
            return Page(b"", after, 0)
        settled = live is None
        page = await self._store.read_results(
            job_id, view, after, lines_max=lines_max, bytes_max=bytes_max, settled=settled
        )
        if self._sight.caller.sees_only is not None or (settled and not page.count):
            await self._still_there(job_id)
        return page

    async def extent(self, job_id: str, view: View, after: int, offset: int = 0) -> Extent:
        """How large a finished job's results are after the first `after` of the view, and where a byte is."""
        extent = await self._store.extent(job_id, view, after, offset)
        await self._still_there(job_id)
        return extent

    # -- Changing

    async def cancel(self, job_id: str, *, force: bool = False) -> tuple[JobView, Receipt]:
        """Ask the job to end, or make it; harmless if it has.  The receipt says what that did."""
        live = self._sight.live(job_id)
        receipt = await self._dispatcher.cancel(live, force=force) if live else Receipt(0, 0)
        return await self.get(job_id), receipt

    async def delete(self, job_id: str) -> None:
        """Forget a finished job, or that there was one.  Conflict if it is not finished."""
        job = None
        with suppress(Gone):
            job = (await self.get(job_id)).job
            if not job.status.finished:
                raise Conflict(f"Job {job_id!r} is {job.status}; cancel it first.")
        await self._store.delete_job(job_id)
        if job is not None:
            self._dispatcher.changes.note(job)

    async def _still_there(self, job_id: str) -> None:
        """Asked after something was read: before, the job could be deleted and its id taken by another caller."""
        if await self._sight.job(job_id) is None:
            raise await self._sight.absent(job_id)

    async def _expired(self, job_id: str, fingerprint: str | None) -> bool:
        """Whether there was a job under this id, of the same content, whose retention is over."""
        tombstone = await self._sight.tombstone(job_id)
        return tombstone is not None and tombstone.fingerprint == fingerprint

    def _looked_at(self, job_id: str) -> LiveJob | None:
        live = self._sight.live(job_id)
        if live is not None:
            self._dispatcher.looked_at(live)
        return live

    def _view(self, live: LiveJob) -> JobView:
        self._dispatcher.looked_at(live)
        now = self._clock.monotonic()
        position = self._dispatcher.scheduler.queue_position(live)
        job = live.job
        stopped = stopped_by(self._dispatcher.trouble, live.pool, self._dispatcher.paused_pools)
        if job.error is None and stopped is not None:
            job = replace(job, error=stopped)
        rate = eta = None
        if live.job.counts.done:  # before there is a result nothing is known
            rate = live.rate.items_per_second(now)
            if live.moving and stopped is None:
                left = live.counts.queued + live.counts.running
                eta = live.rate.eta_seconds(now, left, self._dispatcher.scheduler.part(live))
        return JobView(job, live.counts, rate, eta, position, self._sight.ticket(job.id))

    def _at_rest(self, job: Job, recent: Recent | None = None) -> JobView:
        return JobView(job, job.counts, ticket=self._sight.ticket(job.id), recent=recent)
