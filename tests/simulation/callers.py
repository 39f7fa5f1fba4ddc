"""Callers: each submits a job, however often that takes, follows it, meddles with it, and checks what it is told."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from app.api.streaming import Unfinished, follow
from app.domain.errors import Conflict, Gone, NotFound, ServiceError
from app.domain.item import Block, View
from app.domain.job import Job, Options, Status
from app.service.inputs import Select, Selection
from app.service.jobs import Accepted, Draft
from app.service.retry import retry
from app.service.view import JobView
from tests.simulation.fate import Item, draw
from tests.simulation.invariants import Prefixes, Violation, check_results, check_view, hold

if TYPE_CHECKING:
    from tests.simulation.world import Life

ITEMS_MAX = 60
PAUSE_SECONDS = (0.01, 1.0)
VIEWS = [
    View(order, outcome) for order in ("completion", "index") for outcome in (None, "failed", "succeeded")
]

decode = msgspec.json.Decoder().decode

T = TypeVar("T")
Way = Literal["at once", "streamed"]
Identity = Literal["id", "key", "none"]


class _Broken(Exception):
    """The caller's connection is cut."""


class Caller:
    """One job's story, across the lives of the service."""

    def __init__(self, name: int, chance: random.Random, prefixes: Prefixes) -> None:
        self._name = name
        self._chance = chance
        self._prefixes = prefixes
        self._begins_at = chance.choice((0.0, chance.uniform(0, 5)))
        self._way: Way = chance.choice(("at once", "streamed"))
        self._identity: Identity = chance.choice(("id", "key", "none"))
        self._twice = chance.random() < 0.3
        """Whether it submits again what was accepted, and sometimes both at the same time."""
        self._views = chance.sample(VIEWS, chance.randint(1, 3))
        self._cancels_after = chance.uniform(0, 3) if chance.random() < 0.3 else None
        self._pauses_after = chance.uniform(0, 3) if chance.random() < 0.3 else None
        self._changes_after = chance.uniform(0, 3) if chance.random() < 0.3 else None
        self._deletes = chance.random() < 0.3
        self._deleting = False
        self._items = [draw(chance, n) for n in range(chance.choice((0, 1, 5, chance.randint(1, ITEMS_MAX))))]
        self._options = _options(chance)
        self._task = chance.choice(("work", "work", "wait"))
        self._opens = chance.random() < 0.25
        """Whether it submits the job open, and appends most of its items."""
        self._sent = chance.randint(0, len(self._items)) if self._opens else len(self._items)
        """How many items the job has, as far as it was told."""
        self._first_part = self._items[: self._sent]
        self._retries: Select | None = chance.choice(("failed", "cancelled", None, None, None))
        self._first_sent_at: datetime | None = None
        self._job_id: str | None = None
        self._cancelled = False
        """Whether it has asked for that, answered or not."""
        self._told_cancelling = False
        self._paused = False
        """Whether it has asked for that, answered or not, and not resumed since."""
        self._changed: Options | None = None
        """What it was told its job's options are now."""
        self._last: Job | None = None
        self._read = dict.fromkeys(self._views, 0)
        self._over = False

    def __repr__(self) -> str:
        return f"Caller({self._name}, {self._job_id}, {self._last}, {self._read})"

    @property
    def job_id(self) -> str | None:
        """What it was told; of several, what it went on with."""
        return self._job_id

    async def run(self, life: "Life") -> None:
        """Go on where the last life of the service ended."""
        if self._over:
            return
        await asyncio.sleep(max(0.0, self._begins_at - life.clock.monotonic()))
        try:
            if self._job_id is None:
                self._job_id = await self._submit(life)
            works = [self._follow(life, view) for view in self._views]
            await _all([self._watch(life), self._meddle(life), self._grow(life, self._job_id), *works])
            await self._finish(life)
        except Gone:
            pass  # that only finished jobs expire is checked where it happens
        except NotFound:
            hold(self._deleting, "no accepted job is lost", self)
        self._over = True

    # -- Submitting

    async def _submit(self, life: "Life") -> str:
        """The job's id, once the service has said that it has it."""
        self._first_sent_at = self._first_sent_at or life.clock.now()
        submit = self._send if self._way == "at once" else self._stream
        if self._chance.random() < 0.2:
            with suppress(_Broken, ServiceError):
                await self._stream(life, breaks=True)
        if self._twice and self._identity == "id":
            first, second = await _all([self._insist(life, submit), self._insist(life, submit)])
            hold(first.job_id == second.job_id, "the same submission is the same job", self, first, second)
            return first.job_id
        accepted = await self._insist(life, submit)
        if self._twice and self._identity == "key":
            again = await self._insist(life, submit)
            same = accepted.job_id == again.job_id and again.replayed
            hold(same or self._keys_may_be_forgotten(life), "the same key is the same job", again)
        return accepted.job_id

    def _keys_may_be_forgotten(self, life: "Life") -> bool:
        """Whether a day may have passed since it was first sent: the wall clock was put forward."""
        assert self._first_sent_at is not None
        return life.clock.now() - self._first_sent_at > timedelta(hours=22)  # and back by an hour, or two

    async def _insist(self, life: "Life", submit: Callable[["Life"], Awaitable[Accepted]]) -> Accepted:
        while True:
            try:
                return await self._until_it_works(lambda: submit(life))
            except Conflict:
                hold(self._identity == "key", "nobody is in the way but the same upload", self)
                await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))

    async def _send(self, life: "Life") -> Accepted:
        life.jobs.check_open()
        return await life.jobs.submit(self._draft(), self._blocks())

    async def _stream(self, life: "Life", *, breaks: bool = False) -> Accepted:
        life.jobs.check_open()
        async with life.jobs.upload(self._draft()) as upload:
            for block in self._blocks():
                await upload.add([block])
                if breaks:
                    raise _Broken
            if breaks:
                raise _Broken
            return await life.jobs.commit(upload, self._draft())

    def _draft(self) -> Draft:
        return Draft(
            task=self._task,
            options=self._options,
            params={},
            fingerprint=f"fingerprint {self._name}",
            open=self._opens,
            job_id=f"job-{self._name}" if self._identity == "id" else None,
            idempotency_key=f"key-{self._name}" if self._identity == "key" else None,
        )

    def _blocks(self) -> Sequence[Block]:
        """Of seven items at most."""
        items = self._first_part
        return [_block(first, items[first : first + 7]) for first in range(0, len(items), 7)]

    async def _grow(self, life: "Life", job_id: str) -> None:
        """Append what an open job is to have, some of it twice, and seal it."""
        if not self._opens:
            return
        with suppress(Conflict):  # it has ended, or is about to
            while self._sent < len(self._items):
                first = max(0, self._sent - self._chance.choice((0, 0, 5)))
                block = _block(first, self._items[first : self._sent + self._chance.randint(1, 7)])
                total = await self._until_it_works(lambda: life.appending.append(job_id, [block]))  # noqa: B023
                hold(total >= block.stop, "what was appended is there", self, total, block)
                self._sent = total
                await asyncio.sleep(self._chance.choice((0.0, 0.01, 1.0)))
        await self._until_it_works(lambda: life.control.seal(job_id))

    # -- Looking

    async def _watch(self, life: "Life") -> None:
        """Look now and then, until it has finished."""
        while not (await self._look(life)).job.status.finished:  # noqa: ASYNC110 -- as callers do
            await asyncio.sleep(self._chance.uniform(0.01, 2.0))

    async def _look(self, life: "Life") -> JobView:
        """The job as it is told; what was told before still holds."""
        assert self._job_id is not None
        view = await self._until_it_works(lambda: life.jobs.get(self._job_id or ""))
        self._check(life, view)
        job, before = view.job, self._last
        hold(self._sent <= job.counts.total <= len(self._items), "every item is there", self._sent, job)
        if before is not None:
            hold(job.counts.done >= before.counts.done, "results stay", before, job)
            hold(self._changed in (None, job.options), "a change stays", self._changed, job)
            hold(not before.status.finished or job == before, "a finished job never changes", before, job)
        cancel = (Status.CANCELLING, Status.CANCELLED)
        hold(not self._told_cancelling or job.status in cancel, "what is being cancelled stays so", job)
        self._last = job
        return view

    def _check(self, life: "Life", view: JobView) -> None:
        log = life.store.log(view.job.id)
        if log is not None:  # it may have expired right after it was told
            check_view(view, log)

    async def _follow(self, life: "Life", view: View) -> None:
        """Read a view to its end, coming back with the number of lines it has."""
        assert self._job_id is not None
        while True:
            with suppress(Unfinished, ServiceError):
                async for piece in follow(life.jobs, self._job_id, view, self._read[view]):
                    page = piece.lstrip(b" ").splitlines(keepends=True)
                    self._prefixes.check(self._job_id, view, self._read[view], page)
                    self._read[view] += len(page)
                    if self._chance.random() < 0.3:
                        await asyncio.sleep(self._chance.uniform(0, 0.5))
                return
            await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))

    # -- Meddling

    async def _meddle(self, life: "Life") -> None:
        assert self._job_id is not None
        await _all([meddle(life, self._job_id) for meddle in (self._cancel, self._pause, self._change)])

    async def _cancel(self, life: "Life", job_id: str) -> None:
        if self._cancels_after is None:
            return
        await asyncio.sleep(self._cancels_after)
        self._cancelled = True
        done = sum(segment.count for segment in life.store.log(job_id) or ())
        view, receipt = await self._until_it_works(lambda: life.jobs.cancel(job_id))
        self._check(life, view)
        hold(min(receipt.dropped, receipt.signalled) >= 0, "a receipt counts", receipt)
        hold(
            receipt.dropped + receipt.signalled <= view.counts.total - done,
            "it counts no result",
            receipt,
            view,
        )
        self._told_cancelling = view.job.status is Status.CANCELLING
        self._cancels_after = None

    async def _pause(self, life: "Life", job_id: str) -> None:
        """Pause the job for a while; one that was left paused by the last life goes on now."""
        if self._pauses_after is None:
            return
        with suppress(Conflict):  # it has ended, or is about to
            if not self._paused:
                await asyncio.sleep(self._pauses_after)
                self._paused = True
                view = await self._until_it_works(lambda: life.control.pause(job_id))
                await asyncio.sleep(self._chance.uniform(0, 2))
                later = await self._until_it_works(lambda: life.jobs.get(job_id))
                begun = [told.counts.running + told.counts.done for told in (view, later)]
                still = later.job.status is Status.PAUSED
                hold(not still or begun[1] <= begun[0], "no item of a paused job starts", view, later)
            await self._until_it_works(lambda: life.control.resume(job_id))
        self._pauses_after = None

    async def _change(self, life: "Life", job_id: str) -> None:
        if self._changes_after is None:
            return
        await asyncio.sleep(self._changes_after)
        options = replace(
            self._options,
            priority=self._chance.choice(("low", "normal", "high")),
            max_in_flight=self._chance.choice((None, 1, 3)),
            max_failures=self._chance.choice((self._options.max_failures, None)),
        )
        with suppress(Conflict):
            await self._until_it_works(
                lambda: life.control.change(job_id, lambda job: replace(job, options=options))
            )
            self._changed = options
        self._changes_after = None

    async def _finish(self, life: "Life") -> None:
        """What it has read is what was due; then it may let the job go."""
        job = (await self._look(life)).job
        for view in self._views:
            lines = self._prefixes.of(job.id, view)
            due = {None: job.counts.done, "failed": job.counts.failed, "succeeded": job.counts.succeeded}
            hold(len(lines) == due[view.outcome], "a reader that ends has read everything", job, view)
            check_results(lines, self._items, self._options.max_attempts, job, whole=view.outcome is None)
        expected = {
            Status.COMPLETED: True,
            Status.CANCELLED: self._cancelled,
            Status.FAILED: self._options.max_failures is not None,
            Status.EXPIRED: self._options.job_timeout_seconds is not None,
        }
        hold(expected[job.status], "a job ends as it was asked to", job)
        if self._retries is not None:
            await self._retry(life, job, self._retries)
        if self._deletes:
            self._deleting = True
            await self._until_it_works(lambda: life.jobs.delete(job.id))
            self._prefixes.forget(job.id)
            with suppress(NotFound):
                await self._until_it_works(lambda: life.jobs.get(job.id))
                raise Violation(f"what is deleted is gone: {job.id}")

    async def _retry(self, life: "Life", old: Job, select: Select) -> None:
        """Some items again, as a job of its own, which has just these and ends like any other."""
        key = f"retry-{self._name}" if self._chance.random() < 0.5 else None
        log = b"".join(segment.lines for segment in life.store.log(old.id) or ())
        ended = {result["index"]: "error" in result for result in map(decode, log.splitlines())}
        chosen = True if select == "failed" else None
        items = [item for n, item in enumerate(self._items[: old.counts.total]) if ended.get(n) is chosen]
        try:
            accepted = await self._until_it_works(
                lambda: retry(life.jobs, life.inputs, old.id, Selection(select), key)
            )
        except Conflict:
            hold(not items, "what was asked for is retried", old, len(items))
            return
        job = (await self._until_it_works(lambda: life.jobs.get(accepted.job_id))).job
        hold(job.counts.total == len(items), "what is retried is what was asked for", old, job, len(items))
        while not job.status.finished:
            await asyncio.sleep(self._chance.uniform(0.1, 2.0))
            job = (await self._until_it_works(lambda: life.jobs.get(accepted.job_id))).job
        if (log_again := life.store.log(job.id)) is None:
            return  # it has expired already
        lines = b"".join(segment.lines for segment in log_again).splitlines()
        check_results(lines, items, self._options.max_attempts, job, whole=True)

    async def _until_it_works(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again after every error that may pass."""
        while True:
            try:
                return await ask()
            except ServiceError:
                await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))


def _block(first: int, items: Sequence[Item]) -> Block:
    return Block(first, len(items), b"".join(item.line() + b"\n" for item in items))


def _options(chance: random.Random) -> Options:
    return Options(
        chunksize=chance.choice(("auto", "auto", 1, 7)),
        priority=chance.choice(("low", "normal", "high")),
        max_attempts=chance.choice((1, 1, 2, 4)),
        max_failures=chance.choice((None, None, None, 0, 3, "10%")),
        max_in_flight=chance.choice((None, None, 1, 3)),
        job_timeout_seconds=chance.choice((None, None, None, 2.0, 30.0)),
        retention_seconds=chance.choice((60.0, 86400.0, 86400.0)),
        failure_retention_seconds=chance.choice((None, 7 * 86400.0)),
    )


async def _all(works: Sequence[Awaitable[T]]) -> list[T]:
    """Their results; if one fails the others are cancelled, and it is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return [task.result() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
