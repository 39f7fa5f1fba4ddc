"""A job that was about to end when the service died ends after the next start, and nothing more of it runs."""

import asyncio
import random
from datetime import timedelta

import pytest
from msgspec.structs import replace

from app.domain.errors import StorageUnavailable
from app.domain.item import Block, Segment
from app.domain.job import Counts, Job, Options, Status
from app.service.dispatcher import Dispatcher
from app.stores.memory import MemoryStore
from tests.builders import Log, a_job
from tests.simulation.engine import ScriptedEngine
from tests.simulation.fate import Item
from tests.simulation.loop import START, SimulatedClock, SimulatedLoop

TOTAL = 50
SECONDS_MAX = 60.0


def taken_up(job: Job, segment: Segment) -> Job:
    """What becomes of the job, of whose items these results were stored."""

    async def story() -> Job:
        loop = asyncio.get_running_loop()
        store = MemoryStore()
        store.open()
        lines = b"".join(Item(n, "ok").line() + b"\n" for n in range(TOTAL))
        await store.create_job(replace(job, counts=Counts(TOTAL)), [Block(0, TOTAL, lines)])
        await store.append_results([segment], [job], {})
        clock = SimulatedClock(loop, timedelta())
        dispatcher = Dispatcher(store, ScriptedEngine(loop, random.Random(0)), clock)
        await dispatcher.start()
        async with asyncio.timeout(SECONDS_MAX):
            while dispatcher.live:
                await dispatcher.bell.wait(dispatcher.bell.rings, SECONDS_MAX)
        await dispatcher.stop()
        (ended,) = store.jobs()
        return ended

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(story())


@pytest.mark.parametrize(
    ("status", "end"),
    [(Status.RUNNING, Status.FAILED), (Status.PAUSED, Status.FAILED), (Status.CANCELLING, Status.CANCELLED)],
)
def test_what_was_to_end_does(status: Status, end: Status) -> None:
    """Of one item more than may fail there was a result; or its cancellation was stored, and the end was not."""
    job = a_job(
        task="work",
        status=status,
        counts=Counts(TOTAL, succeeded=1, failed=2),
        options=Options(max_failures=1),
        created_at=START,
        started_at=START,
    )

    ended = taken_up(job, Log().segment(0, [True, False, True]))

    assert (ended.status, ended.counts) == (end, Counts(TOTAL, 0, 1, 2, TOTAL - 3))
    assert (ended.error is not None) == (end is Status.FAILED)


def test_a_job_whose_every_result_was_stored_is_completed() -> None:
    """Nothing of it waits, so nothing will tell that it is done."""
    job = a_job(
        task="work",
        status=Status.RUNNING,
        counts=Counts(TOTAL, succeeded=TOTAL),
        created_at=START,
        started_at=START,
    )

    ended = taken_up(job, Log().segment(0, [False] * TOTAL))

    assert (ended.status, ended.counts) == (Status.COMPLETED, job.counts)


class _Stopped(ScriptedEngine):
    """Tells whether it was stopped."""

    stopped = False

    async def stop(self) -> None:
        self.stopped = True
        await super().stop()


class _Unreadable(MemoryStore):
    async def unfinished_jobs(self) -> list[Job]:
        raise StorageUnavailable("The disk cannot be read.")


def test_who_cannot_read_its_jobs_leaves_no_worker_behind() -> None:
    """The start fails, and nothing runs."""

    async def story() -> _Stopped:
        loop = asyncio.get_running_loop()
        engine = _Stopped(loop, random.Random(0))
        dispatcher = Dispatcher(_Unreadable(), engine, SimulatedClock(loop, timedelta()))
        with pytest.raises(StorageUnavailable):
            await dispatcher.start()
        return engine

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        assert runner.run(story()).stopped
