"""Hundreds of workers have room at the same moment, or are to end what they run: others have the loop in between."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import psutil

from app.service.dispatcher import GIVEN_AT_ONCE
from app.service.ending import AT_ONCE, Ending
from bench.pool_driver import CPU, Driver, driving
from tests.simulation.engine import Worker
from tests.simulation.scheduled import Scheduled, scheduled
from workers.pool import LET_GO_AT_ONCE

WORKERS = AT_ONCE + GIVEN_AT_ONCE + 7
SECONDS_MAX = 60.0


def with_many_workers(service: Scheduled) -> None:
    engine = service.engine
    engine._workers += [Worker("cpu") for _ in range(WORKERS - engine.size("cpu"))]
    engine._sizes["cpu"] = WORKERS


def test_room_is_filled_some_chunks_at_a_time() -> None:
    """And at last there is none."""

    async def story(service: Scheduled) -> None:
        with_many_workers(service)
        await service.submit(*[5_000.0] * (3 * WORKERS))
        given = [len(service.dispatcher.chunks)]
        while given[-1:] != given[-2:-1]:
            await asyncio.sleep(0)
            given.append(len(service.dispatcher.chunks))

        assert given[0] == GIVEN_AT_ONCE
        assert max(after - before for before, after in pairwise(given)) <= GIVEN_AT_ONCE
        assert given[-1] >= WORKERS

    scheduled(story)


def test_who_cancels_hears_of_all_that_ran() -> None:
    """However many there are."""

    async def story(service: Scheduled) -> None:
        with_many_workers(service)
        live = await service.submit(*[5_000.0] * (3 * WORKERS))
        await asyncio.sleep(0.5)
        receipt = await service.dispatcher.cancel(live)

        assert receipt.signalled == WORKERS
        assert receipt.dropped == 2 * WORKERS

    scheduled(story)


def test_chunks_are_told_to_end_some_at_a_time() -> None:
    """The first of them at once; how many ran is known once all were told."""
    told: list[int] = []

    def end(chunk_id: int) -> bool:
        told.append(chunk_id)
        return chunk_id % 2 == 0

    async def story() -> None:
        chunk_ids = range(3 * AT_ONCE)
        ending = Ending(end, chunk_ids)
        assert told == list(chunk_ids[:AT_ONCE])
        assert await ending.signalled() == len(chunk_ids) // 2
        assert told == list(chunk_ids)

    asyncio.run(story())


def test_workers_that_die_together_are_let_go_some_at_a_time() -> None:
    """As they do when the process that forks them is killed; then there are as many others."""
    number = 2 * LET_GO_AT_ONCE + 5

    async def story() -> None:
        async with driving(Driver) as driver, asyncio.timeout(SECONDS_MAX):
            pool = driver.pool
            pool.resize(CPU, number)
            await until(lambda: len(pids(driver)) == number)
            before = pids(driver)
            kill_zygote(driver)
            living = [number]
            while living[-1]:
                await asyncio.sleep(0)
                living.append(len(before & pids(driver)))
            await until(lambda: len(pids(driver)) == number)

            assert max(was - is_ for was, is_ in pairwise(living)) <= LET_GO_AT_ONCE

    asyncio.run(story())


def test_a_pool_may_be_stopped_while_nobody_forks_workers() -> None:
    """The one process is gone, and the next is not there yet."""

    async def story() -> None:
        async with driving(Driver) as driver, asyncio.timeout(SECONDS_MAX):
            await until(lambda: bool(pids(driver)))
            kill_zygote(driver)
            await until(lambda: not driver.pool.workers(CPU))

    asyncio.run(story())


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0)


def kill_zygote(driver: Driver) -> None:
    zygote = psutil.Process(min(pids(driver))).parent()
    assert zygote is not None
    zygote.kill()


def pids(driver: Driver) -> set[int]:
    """Those of the workers that are there."""
    return {worker.pid for worker in driver.pool.workers(CPU) if worker.pid}
