"""A job that has the workers to itself is cut into few chunks, and nobody who comes waits for these."""

import pytest

from app.domain.chunking import ALONE_SECONDS, TARGET_SECONDS
from app.domain.engine import Chunk
from app.service.company import QUIET_SECONDS, Company
from tests.simulation.scheduled import Scheduled, scheduled

ITEM_SECONDS = 0.01
POOL = "cpu"


def a_chunk(number: int, *, long: bool = True) -> Chunk:
    return Chunk(number, "t", b"{}", 0, 20, b"1\n" * 20, long=long)


@pytest.fixture
def recalled() -> list[int]:
    return []


@pytest.fixture
def company(recalled: list[int]) -> Company[str]:
    """Two jobs have a long and a short chunk each with the workers."""
    company: Company[str] = Company([POOL, "io"], recalled.append, lambda number: 0.1 * number)
    for number, owner in enumerate("aabb"):
        company.sent(POOL, owner, a_chunk(number, long=number % 2 == 0))
    return company


def test_chunks_are_long_where_one_job_alone_wants_workers(company: Company[str]) -> None:
    """From the start."""
    assert company.chunk_seconds(POOL, 1, 0.0) == ALONE_SECONDS
    assert company.chunk_seconds(POOL, 2, 0.0) == TARGET_SECONDS


def test_who_waits_has_all_long_chunks_recalled_once(company: Company[str], recalled: list[int]) -> None:
    """Short ones end as soon."""
    for _ in range(2):
        company.waits(POOL, 5.0)

    assert recalled == [0, 2]


def test_a_job_is_not_in_its_own_way(company: Company[str], recalled: list[int]) -> None:
    """If nobody else wants anything; what others have left with the workers is."""
    company.waits(POOL, 5.0, "a")
    company.waits(POOL, 9.0, "a")

    assert recalled == [2]
    assert company.chunk_seconds(POOL, 1, 5.0 + QUIET_SECONDS) == ALONE_SECONDS


def test_what_has_ended_is_not_recalled(company: Company[str], recalled: list[int]) -> None:
    """Nor is what is in another pool."""
    company.ended(POOL, a_chunk(0))
    company.waits("io", 5.0)

    assert recalled == []
    company.waits(POOL, 5.0)
    assert recalled == [2]


def test_what_long_chunks_have_taken_is_asked_of_the_engine(company: Company[str]) -> None:
    """Of each, with whose it is."""
    assert company.taken(POOL) == [(0, "a", 0.0), (2, "b", 0.2)]


def test_who_has_the_only_long_chunks_is_known(company: Company[str]) -> None:
    """None of another's may be in front of what waits after one."""
    assert not company.is_only(POOL, "a")
    company.ended(POOL, a_chunk(2))

    assert company.is_only(POOL, "a")
    assert not company.is_only(POOL, "b")
    assert company.is_only("io", "b")


def test_for_a_while_after_somebody_came_chunks_are_short(company: Company[str]) -> None:
    """So that many who come one after the other find them so."""
    company.waits(POOL, 5.0)

    assert company.chunk_seconds(POOL, 1, 5.0 + 0.9 * QUIET_SECONDS) == TARGET_SECONDS
    assert company.chunk_seconds(POOL, 1, 5.0 + QUIET_SECONDS) == ALONE_SECONDS
    assert company.chunk_seconds("io", 1, 5.0) == ALONE_SECONDS


@pytest.mark.parametrize("left", [0, 10_000])
def test_a_job_that_comes_waits_for_one_item_of_the_job_before_it(left: int) -> None:
    """Not for a long chunk; also if that was the last of its job."""
    waited: list[float] = []

    async def story(service: Scheduled) -> None:
        for _ in range(20):
            before = await service.submit(*[ITEM_SECONDS * 1000] * (200 + left))
            while before.waiting > left:
                await before.bell.wait(before.bell.rings, 3600.0)
            began = service.clock.monotonic()
            await service.end(await service.submit(1.0))
            waited.append(service.clock.monotonic() - began - 0.001)
            if left:
                await service.dispatcher.cancel(before)
            await service.end(before)
            await before.bell.wait(before.bell.rings, 2 * QUIET_SECONDS)

    scheduled(story)

    assert max(waited) <= ITEM_SECONDS + 0.002


def test_who_is_alone_has_a_second_chunk_with_each_worker() -> None:
    """So that no worker waits between two; but the last items are shared out when they can be had."""
    waited = 0

    async def story(service: Scheduled) -> None:
        nonlocal waited
        live = await service.submit(*[ITEM_SECONDS * 1000] * 400)
        while not live.job.status.finished:
            await live.bell.wait(live.bell.rings, 3600.0)
            given = [len(worker.given) for worker in service.engine.workers_of(POOL)]
            waited += given == [2, 2]

    service = scheduled(story)

    assert waited
    makespan = max(ran.at + ran.seconds for ran in service.engine.ran) - service.engine.ran[0].at
    assert makespan <= 400 * ITEM_SECONDS / 2 + 2 * ITEM_SECONDS


def test_nobody_waits_after_a_long_chunk_of_another() -> None:
    """Whose job wants nothing more, but has long chunks with the workers still."""
    starts: list[float] = []

    async def story(service: Scheduled) -> None:
        first = await service.submit(*[ITEM_SECONDS * 1000] * 100)
        while first.waiting:
            await first.bell.wait(first.bell.rings, 3600.0)
        came = service.clock.monotonic()
        second = await service.submit(*[ITEM_SECONDS * 1000] * 100)
        await service.end(first, second)
        starts.append(service.ran(second)[0].at - came)

    scheduled(story)

    assert max(starts) <= ITEM_SECONDS + 0.002


def test_two_jobs_are_cut_into_short_chunks() -> None:
    """None of either takes more than the other should wait."""
    sizes: list[list[int]] = [[], []]

    async def story(service: Scheduled) -> None:
        jobs = [await service.submit(*[ITEM_SECONDS * 1000] * 400)]
        while jobs[-1].waiting > 100:
            sizes[len(jobs) - 1] += [chunk.count for job in jobs for chunk in job.chunks.values()]
            await service.dispatcher.bell.wait(service.dispatcher.bell.rings, 3600.0)
            if len(jobs) == 1 and jobs[0].waiting < 300:
                jobs.append(await service.submit(*[ITEM_SECONDS * 1000] * 400))
                await service.dispatcher.bell.wait(service.dispatcher.bell.rings, 2 * TARGET_SECONDS)

    scheduled(story)

    assert max(sizes[0]) > 2 * TARGET_SECONDS / ITEM_SECONDS
    assert max(sizes[1]) <= TARGET_SECONDS / ITEM_SECONDS


def test_workers_that_jobs_share_are_not_all_free_at_the_same_moment() -> None:
    """Their chunks take different times: of items of 5 ms each has 5 to 10, whichever job it is of."""
    sizes: dict[int, int] = {}

    async def story(service: Scheduled) -> None:
        jobs = [await service.submit(*[5.0] * 600) for _ in range(2)]
        while not all(live.job.status.finished for live in jobs):
            sizes.update({chunk.id: chunk.count for live in jobs for chunk in live.chunks.values()})
            await service.dispatcher.bell.wait(service.dispatcher.bell.rings, 3600.0)

    scheduled(story)

    sizes_between = [size for number, size in sorted(sizes.items()) if 20 < number < 60]
    assert set(sizes_between) >= {6, 7, 8, 9}
    assert max(sizes_between) <= 10
