"""Items kept in memory until their job sends them."""

import asyncio
import tracemalloc
from itertools import takewhile

from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.item import Block
from app.service.items import BLOCK_BYTES, FORGOTTEN_AT_ONCE, JOINED_BYTES, ItemCache
from app.stores.memory import MemoryStore
from tests.builders import a_job
from tests.simulation.fate import Item
from tests.simulation.scheduled import Scheduled, scheduled

ROOM, LINES = 5, b"1\n"
BYTES = 4 << 20


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "pop", "forget"]), st.sampled_from("abc"), st.integers(0, 3)),
        max_size=30,
    )
)
def test_what_is_kept_is_what_was_put_last(steps: list[tuple[str, str, int]]) -> None:
    """Each block once, of no job that is over, and no more than there is room for."""
    cache = ItemCache(MemoryStore(), bytes_max=ROOM * (BLOCK_BYTES + len(LINES)))
    kept: list[tuple[str, int]] = []
    for what, job_id, first in steps:
        if what == "put":
            cache.put(job_id, Block(first, 1, LINES))
            kept = [*(key for key in kept if key != (job_id, first)), (job_id, first)][-ROOM:]
        elif what == "pop":
            together = list(takewhile(lambda key: key in kept, [(job_id, at) for at in range(first, 4)]))  # noqa: B023
            block = cache.pop(job_id, first)
            assert block == (Block(first, len(together), LINES * len(together)) if together else None)
            kept = [key for key in kept if key not in together]
        else:
            cache.forget(job_id)
            kept = [key for key in kept if key[0] != job_id]

    places = [(job_id, first) for job_id in "abc" for first in range(4)]
    assert [place for place in places if place in cache] == sorted(kept)
    blocks = [(job_id, block) for job_id, first in places if (block := cache.pop(job_id, first))]
    assert [
        (job_id, first) for job_id, block in blocks for first in range(block.first, block.stop)
    ] == sorted(kept)


def test_only_small_blocks_are_taken_together() -> None:
    """To put large ones together would copy them, and they are items enough."""
    cache = ItemCache(MemoryStore())
    half = b"x" * (JOINED_BYTES // 2 - 1) + b"\n"
    cache.put("j", *(Block(first, 1, half) for first in range(3)), Block(3, 1, 3 * half))

    assert [cache.pop("j", first) for first in (0, 2, 3)] == [
        Block(0, 2, 2 * half),
        Block(2, 1, half),
        Block(3, 1, 3 * half),
    ]


def test_a_job_of_many_blocks_is_forgotten_some_at_a_time() -> None:
    """None of them is there any more from the first moment on, and what another job under its id has stays."""

    async def story() -> None:
        cache = ItemCache(MemoryStore())
        room, blocks = cache._left, 3 * FORGOTTEN_AT_ONCE
        cache.put("j", *(Block(first, 1, LINES) for first in range(blocks)))
        cache.forget("j")
        assert len(cache._blocks) == blocks - FORGOTTEN_AT_ONCE
        assert not any(("j", first) in cache for first in range(blocks))
        assert cache.pop("j", blocks - 1) is None
        cache.put("j", Block(blocks - 2, 2, LINES * 2))
        for _ in range(3):
            await asyncio.sleep(0)
        assert list(cache._blocks) == [("j", blocks - 2)]
        assert cache.pop("j", blocks - 2) == Block(blocks - 2, 2, LINES * 2)
        assert cache._left == room
        assert cache._firsts == {}

    asyncio.run(story())


def test_what_is_kept_is_about_what_it_is_said_to_be() -> None:
    """Of items that come one by one, too, of which most is not lines."""
    tracemalloc.start()
    try:
        cache = ItemCache(MemoryStore(), bytes_max=BYTES)
        before, _ = tracemalloc.get_traced_memory()
        for first in range(2 * BYTES // BLOCK_BYTES):
            cache.put("j", Block(first, 1, b"%d\n" % (first % 7)))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.5 * BYTES < used < 1.2 * BYTES


@given(
    st.lists(
        st.tuples(
            st.sampled_from([("read",), ("read", "use"), ("use",), ("forget",)]), st.sampled_from("abcd")
        ),
        max_size=30,
    )
)
@example(
    [
        (("read", "use"), "a"),
        (("read", "use"), "b"),
        (("use",), "a"),
        (("read", "use"), "c"),
        (("read",), "d"),
    ]
)
def test_blocks_that_jobs_are_at_are_those_that_were_used_last(
    steps: list[tuple[tuple[str, ...], str]],
) -> None:
    """And those that were read and not used yet; of each job one, and of none that is over."""
    cache = ItemCache(MemoryStore(), read_bytes_max=2 * (BLOCK_BYTES + len(LINES)))
    fresh: set[str] = set()
    used: list[str] = []
    for what, job_id in ((what, job_id) for whats, job_id in steps for what in whats):
        if what == "use" and job_id not in (*fresh, *used):
            continue
        used = [other for other in used if other != job_id]
        fresh.discard(job_id)
        match what:
            case "read":
                cache.read_from(job_id, Block(3, 1, LINES))
                fresh.add(job_id)
            case "use":
                cache.used(job_id)
                used = [*used, job_id][-2:]
            case "forget":
                cache.forget(job_id)

    assert {job_id for job_id in "abcd" if cache.reader(job_id, 3)} == fresh | set(used)
    assert not any(cache.reader(job_id, 4) for job_id in "abcd")


def test_many_jobs_that_share_the_workers_keep_few_blocks() -> None:
    """What was let go is read again, and each item runs once."""
    jobs, items, kept = 30, 6, 3
    held: list[int] = []

    async def story(service: Scheduled) -> None:
        cache = service.dispatcher._items
        lines = sum(len(Item(number, "ok", ms=5.0).line()) + 1 for number in range(items))
        cache._read_left = kept * (BLOCK_BYTES + lines)
        lives = [await service.submit(*[5.0] * items) for _ in range(jobs)]
        while service.dispatcher.live:
            await service.dispatcher.bell.wait(service.dispatcher.bell.rings, 3600.0)
            held.append(len(cache._used))
        assert not cache._readers
        assert [len(service.ran(live)) for live in lives] == [items] * jobs

    scheduled(story)

    assert max(held) == kept


def test_a_block_that_comes_after_its_job_is_over_is_not_kept() -> None:
    """Another job may come under its id, and has other items."""

    class Slow(MemoryStore):
        async def read_blocks(self, job_id: str, index: int, *, bytes_max: int) -> list[Block]:
            await asyncio.sleep(5.0)
            return await super().read_blocks(job_id, index, bytes_max=bytes_max)

    async def story(service: Scheduled) -> None:
        cache = service.dispatcher._items
        blocks = [Block(0, 1, b'{"n":0,"fate":"ok","ms":5.0}\n')]
        job = a_job("late", total=1, task="work")
        await service.store.create_job(job, blocks)
        live = service.dispatcher.submitted(job)
        await asyncio.sleep(1.0)
        assert live.loading
        await service.dispatcher.cancel(live)
        assert live.job.status.finished
        await asyncio.sleep(60.0)
        assert not cache._readers

    scheduled(story, Slow())
