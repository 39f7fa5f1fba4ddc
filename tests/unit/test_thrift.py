"""The store is not asked for what is known already, and not given what it has."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from app.domain.item import Block, Page, Segment, View
from app.domain.job import Options
from app.service.admission import Limits
from app.service.appending import Appending
from app.service.inspection import Inspection
from app.service.items import BLOCKS_MAX
from app.service.jobs import Jobs
from app.service.live import LiveJob
from app.service.scheduler import LOADS_MAX
from app.service.writer import PAUSE_SECONDS
from app.stores.memory import MemoryStore
from tests.builders import a_job
from tests.simulation.fate import Item
from tests.simulation.loop import START
from tests.simulation.scheduled import Scheduled, scheduled


class Counted(MemoryStore):
    """Remembers how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.without_results = 0
        self.pages = 0
        self.blocks = 0
        """That were read."""
        self.looked_at = 0
        """Jobs of before a restart."""

    async def append_results(self, segments: Sequence[Segment], *rest: Any) -> None:
        self.writes += 1
        self.without_results += not segments
        await super().append_results(segments, *rest)

    async def done_ranges(
        self, job_id: str, index: int = 0, ranges_max: int | None = None
    ) -> list[tuple[int, int]]:
        self.looked_at += 1
        await asyncio.sleep(0.001)
        return await super().done_ranges(job_id, index, ranges_max)

    async def read_blocks(self, job_id: str, index: int, *, bytes_max: int) -> list[Block]:
        self.blocks += 1
        return await super().read_blocks(job_id, index, bytes_max=bytes_max)

    async def read_results(self, *which: Any, **limits: Any) -> Page:
        self.pages += 1
        return await super().read_results(*which, **limits)


def test_the_end_of_a_chunk_alone_is_not_written() -> None:
    """Its results are; that the job had begun is what was written beside them."""
    store = Counted()

    async def story(service: Scheduled) -> None:
        await service.end(await service.submit(*[30.0] * 40))

    scheduled(story, store)

    assert store.without_results <= 2


def test_the_end_of_a_chunk_is_not_written_for_a_job_that_its_results_have_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be told after they are stored."""
    store = Counted()

    async def story(service: Scheduled) -> None:
        live = await service.submit(1e9, 1e9, chunksize=2)
        (chunk_id,) = live.chunks
        service.dispatcher.part(chunk_id, 0, 2, 0, b"{}\n{}\n", ())
        await asyncio.sleep(1.0)
        assert live.job.status.finished
        writes = store.writes
        service.dispatcher.ended(chunk_id, 2, 1.0)
        await asyncio.sleep(1.0)

        assert store.writes == writes

    scheduled(story, store)

    assert caplog.messages == []


def test_results_of_jobs_that_go_on_are_written_together() -> None:
    """Two workers tell of theirs each 30 ms for three seconds, and half as often as they do, or less, is written."""
    store = Counted()

    async def story(service: Scheduled) -> None:
        await service.end(await service.submit(*[30.0] * 200, chunksize=1))

    scheduled(story, store)

    assert store.writes <= 3.0 / PAUSE_SECONDS + 4


def test_results_that_come_many_at_once_wait_for_those_of_other_workers() -> None:
    """And are written with them; one that comes alone took long, and is written at once if nothing was lately."""
    store = Counted()
    writes: list[int] = []

    async def story(service: Scheduled) -> None:
        live = await service.submit(*[1e9] * 20, chunksize=10)
        one, other = live.chunks
        for seconds, chunk_id, first, count in [
            (1.0, one, 0, 1),
            (0.9 * PAUSE_SECONDS, one, 1, 2),
            (0.2 * PAUSE_SECONDS, other, 10, 2),
            (1.0, one, 3, 2),
            (0.1 * PAUSE_SECONDS, one, 5, 1),
        ]:
            service.dispatcher.part(chunk_id, first, count, 0, b"{}\n" * count, ())
            await asyncio.sleep(seconds)
            writes.append(store.writes)

    scheduled(story, store)

    assert [number - writes[0] for number in writes] == [0, 0, 1, 2, 3]


def test_results_at_the_end_of_a_chunk_wait_as_long_for_others() -> None:
    """That the chunk is over is written with them, and no sooner."""
    store = Counted()
    writes: list[int] = []

    async def story(service: Scheduled) -> None:
        live = await service.submit(*[1e9] * 20, chunksize=10)
        one, _ = live.chunks
        service.dispatcher.part(one, 0, 1, 0, b"{}\n", ())
        await asyncio.sleep(1.0)
        service.dispatcher.part(one, 1, 9, 0, b"{}\n" * 9, ())
        service.dispatcher.ended(one, 10, 1.0)
        for share in 0.0, 0.9, 0.2:
            await asyncio.sleep(share * PAUSE_SECONDS)
            writes.append(store.writes)

    scheduled(story, store)

    assert [number - writes[0] for number in writes] == [0, 0, 1]


@pytest.mark.parametrize("options", [{}, {"max_in_flight": 1}])
def test_who_waits_for_a_result_does_not_wait_for_others(options: dict[str, Any]) -> None:
    """Neither for the first one of a job, nor for its last, nor for one that the job's next item waits for."""
    waited: list[float] = []

    async def story(service: Scheduled) -> None:
        busy = await service.submit(*[2.0] * 2_000, chunksize=1)
        while busy.job.counts.done < 20:
            await busy.bell.wait(busy.bell.rings, 3600.0)
        for _ in range(20):
            began = service.clock.monotonic()
            live = await service.submit(1.0, 30.0, 1.0, chunksize=1, **options)
            while not live.job.counts.done:
                await live.bell.wait(live.bell.rings, 3600.0)
            waited.append(service.clock.monotonic() - began - 0.001)
            await service.end(live)
            waited.append(service.clock.monotonic() - began - 0.032)

    scheduled(story)

    assert max(waited) < 0.7 * PAUSE_SECONDS


@pytest.mark.parametrize("view", [View(), View("index"), View(outcome="failed"), View(outcome="succeeded")])
def test_a_reader_that_has_all_results_costs_the_store_nothing(view: View) -> None:
    """However often it looks while the job runs; what comes then it is given."""
    store = Counted()
    looked: list[int] = []

    async def story(service: Scheduled) -> None:
        jobs = Jobs(store, service.dispatcher, service.engine, service.clock, Limits(10, 100))
        items = [Item(n, ("ok", "fail")[n % 2], ms=250.0) for n in range(6)]
        live = await service.submit(*items, max_in_flight=1)
        while not live.job.status.finished:
            seen = live.bell.rings
            page = await jobs.results(live.job.id, view, 0, 100)
            before = store.pages
            for _ in range(3):
                assert (await jobs.results(live.job.id, view, page.count, 100)).count == 0
            looked.append(store.pages - before)
            await live.bell.wait(seen, 3600.0)

    scheduled(story, store)

    assert looked.count(0) == len(looked) > 6


def test_items_that_have_just_come_are_not_read_again() -> None:
    """Neither those that came with their job, in however many blocks, nor those that it was given later."""
    store = Counted()

    async def story(service: Scheduled) -> None:
        jobs = Jobs(store, service.dispatcher, service.engine, service.clock, Limits(10, 100))
        appending = Appending(jobs, store, service.dispatcher, service.clock, 100)
        options = Options(chunksize=1)  # of which none is ever taken back
        job = a_job(total=30, task="work", sealed=False, created_at=START, options=options)
        await store.create_job(job, came := [_block(first) for first in (0, 10, 20)])
        live = service.dispatcher.submitted(job, came)
        for first in range(30, 80, 10):
            await appending.append(job.id, [_block(first)])
        while live.job.counts.done < 80:
            await live.bell.wait(live.bell.rings, 3600.0)
        assert sorted(ran.index for ran in service.ran(live)) == list(range(80))

    scheduled(story, store)

    assert store.blocks == 0


def _block(first: int, count: int = 10, ms: float = 30.0) -> Block:
    return Block(
        first, count, b"".join(Item(n, "ok", ms=ms).line() + b"\n" for n in range(first, first + count))
    )


def _jobs(service: Scheduled) -> Jobs:
    return Jobs(service.store, service.dispatcher, service.engine, service.clock, Limits(10, 1_000))


class _Opened:
    """A job to which items are added one by one, each of which takes 1 ms."""

    def __init__(self, service: Scheduled) -> None:
        jobs, store = _jobs(service), service.store
        self._appending = Appending(jobs, store, service.dispatcher, service.clock, 1_000)
        self._service, self._store = service, store

    async def begin(self) -> LiveJob:
        job = a_job(total=0, task="work", sealed=False, created_at=START)
        await self._store.create_job(job, [])
        self.live = self._service.dispatcher.submitted(job, [])
        return self.live

    async def append(self) -> None:
        await self._appending.append(self.live.job.id, [_block(self.live.job.counts.total, count=1, ms=1.0)])


def test_results_of_items_that_come_one_by_one_are_written_together() -> None:
    """As long as nobody looks; if no more come, the last ones are written all the same."""
    store = Counted()

    async def story(service: Scheduled) -> None:
        opened = _Opened(service)
        live = await opened.begin()
        for _ in range(200):
            await opened.append()
            await asyncio.sleep(0.005)
        await asyncio.sleep(2 * PAUSE_SECONDS)
        assert live.job.counts.done == 200

    scheduled(story, store)

    assert store.writes <= 200 * 0.005 / PAUSE_SECONDS + 4


async def _bell(service: Scheduled, live: LiveJob) -> None:
    bell = _jobs(service).bell(live.job.id)
    assert bell is not None
    await bell.wait(bell.rings, 3600.0)


async def _bell_again(service: Scheduled, live: LiveJob) -> None:
    """Comes when there is a result, which may be stored already."""
    await asyncio.sleep(0.010)
    if live.job.counts.done < live.job.counts.total:
        await _bell(service, live)


async def _job(service: Scheduled, live: LiveJob) -> None:
    await asyncio.sleep(0.010)
    await _jobs(service).get(live.job.id)


async def _item(service: Scheduled, live: LiveJob) -> None:
    await asyncio.sleep(0.010)
    inspection = Inspection(service.store, service.dispatcher, service.engine)
    await inspection.item(live.job.id, live.job.counts.total - 1)


async def _results(service: Scheduled, live: LiveJob) -> None:
    await asyncio.sleep(0.010)
    await _jobs(service).results(live.job.id, View(), 10_000, 1)


@pytest.mark.parametrize("look", [_bell, _bell_again, _job, _item, _results])
def test_who_looks_at_an_open_job_has_its_results_written(
    look: Callable[[Scheduled, LiveJob], Awaitable[None]],
) -> None:
    """Whoever sends one item when that before is done waits for no more than it takes, however that is found out."""

    async def story(service: Scheduled) -> None:
        opened = _Opened(service)
        live = await opened.begin()
        for number in range(1, 21):
            await opened.append()
            began = service.clock.monotonic()
            while live.job.counts.done < number:
                await look(service, live)
            assert service.clock.monotonic() - began < 0.4 * PAUSE_SECONDS

    scheduled(story)


def test_items_that_came_one_by_one_are_read_together_after_a_restart() -> None:
    """And run together, as those that were sent at once."""
    store, items = Counted(), 2_000

    async def fill() -> None:
        blocks = [Block(n, 1, Item(n, "ok", ms=0.01).line() + b"\n") for n in range(items)]
        await store.create_job(a_job("open", total=items, task="work", created_at=START), blocks)

    async def story(service: Scheduled) -> None:
        await service.end(*service.dispatcher.live.values())
        assert [ran.index for ran in service.engine.ran if ran.job.job.id == "open"].count(items - 1) == 1
        assert service.engine.chunks <= items // 4

    asyncio.run(fill())
    scheduled(story, store)

    assert store.blocks <= 2 * items // BLOCKS_MAX


def test_items_that_came_one_by_one_and_wait_run_together() -> None:
    """From memory, without being read."""
    store, items = Counted(), 400

    async def story(service: Scheduled) -> None:
        opened = _Opened(service)
        live = await opened.begin()
        live.held = True
        for _ in range(items):
            await opened.append()
        live.held = False
        service.dispatcher.scheduler.refresh(live)
        service.dispatcher.pump()
        await asyncio.sleep(60.0)
        assert live.job.counts.succeeded == items
        assert service.engine.chunks <= items // 4

    scheduled(story, store)

    assert store.blocks == 0


def test_after_a_restart_jobs_are_looked_up_when_their_turn_comes() -> None:
    """Not all before the first runs, and no more while all workers are busy; the one that came first runs first."""
    store = Counted()

    async def fill() -> None:
        for number in range(20 * LOADS_MAX):
            line = Item(0, "ok", ms=1e9).line() + b"\n"
            job = a_job(f"job-{number}", total=1, task="work", created_at=START)
            await store.create_job(job, [Block(0, 1, line)])

    async def story(service: Scheduled) -> None:
        await asyncio.sleep(10.0)
        assert [ran.job.job.id for ran in service.engine.ran] == ["job-0", "job-1"]

    asyncio.run(fill())
    scheduled(story, store)

    assert store.looked_at <= 2 * LOADS_MAX
