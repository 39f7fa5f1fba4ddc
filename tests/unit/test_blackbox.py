"""Whatever a worker prints takes bounded memory, and no more of it is lost than is told."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.engine import Chunk
from bench import pool_driver
from bench.pool_driver import CPU, Driver, driving
from workers.blackbox import LOG_KEPT_BYTES, LOG_START, STACK_BYTES, BlackBox

SECONDS_MAX = 20.0
MUCH_BYTES = 16 * LOG_KEPT_BYTES
SOME = b"".join(b"line %07d\n" % number for number in range(20_000))


@pytest.fixture
def box() -> Iterator[BlackBox]:
    box = BlackBox(0)
    yield box
    box.close()


def taken_bytes(box: BlackBox) -> int:
    """What it takes of the memory, holes left out."""
    return os.fstat(box.fd).st_blocks * 512


def is_bounded(pid: int | None) -> bool:
    """Whether this process has printed much, and most of that takes no memory."""
    if pid is None:
        return False
    log = Path(f"/proc/{pid}/fd/1").stat()
    return log.st_size > MUCH_BYTES and log.st_blocks * 512 < MUCH_BYTES / 2


def printed(box: BlackBox, *, bound: bool) -> str:
    """What is kept of much, of which the pool takes the middle out, or not."""
    for place in range(LOG_START, LOG_START + MUCH_BYTES, len(SOME)):
        os.pwrite(box.fd, SOME, place)
        if bound:
            box.bound()
            assert taken_bytes(box) < STACK_BYTES + LOG_KEPT_BYTES + 2 * len(SOME)
    return box.log()


def test_the_middle_of_what_is_printed_takes_no_memory(box: BlackBox) -> None:
    """Head and tail are as they are where nothing was taken out."""
    whole = BlackBox(1)
    expected = printed(whole, bound=False)
    assert taken_bytes(whole) >= MUCH_BYTES
    whole.close()

    assert printed(box, bound=True) == expected
    assert expected.startswith("line 0000000\n")
    assert expected.endswith("line 0019999\n")
    assert "bytes left out" in expected


def test_a_log_is_looked_after_again_once_it_has_been_taken(box: BlackBox) -> None:
    """Which cuts it off: what the next item prints is no shorter for what was taken out of another's."""
    printed(box, bound=True)
    os.ftruncate(box.fd, STACK_BYTES)
    assert not box.bound()

    printed(box, bound=True)
    assert not box.bound()


def test_the_pool_bounds_what_a_task_prints_while_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no limit, and nobody waits for anything."""
    monkeypatch.setattr(pool_driver, "TASKS", ("tests.unit.odd_tasks",))

    async def story() -> None:
        async with asyncio.timeout(SECONDS_MAX), driving(Driver) as driver:
            driver.pool.run(Chunk(1, "print_for_ever", b"{}", 0, 1, b"0\n"), CPU)
            while not any(is_bounded(worker.pid) for worker in driver.pool.workers(CPU)):  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0.005)

    asyncio.run(story())
