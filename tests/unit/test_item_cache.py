"""Items kept in memory until their job sends them."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from app.domain.item import Block
from app.service.items import BLOCK_BYTES, ItemCache
from app.stores.memory import MemoryStore

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
            assert (cache.pop(job_id, first) is not None) == ((job_id, first) in kept)
            kept = [key for key in kept if key != (job_id, first)]
        else:
            cache.forget(job_id)
            kept = [key for key in kept if key[0] != job_id]

    places = [(job_id, first) for job_id in "abc" for first in range(4)]
    assert [place for place in places if place in cache] == sorted(kept)
    assert [place for place in places if cache.pop(*place)] == sorted(kept)


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
