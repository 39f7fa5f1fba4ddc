"""Items kept in memory until their job sends them."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.item import Block
from app.service.items import ItemCache
from app.stores.memory import MemoryStore

ROOM = 5


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "pop", "forget"]), st.sampled_from("abc"), st.integers(0, 3)),
        max_size=30,
    )
)
def test_what_is_kept_is_what_was_put_last(steps: list[tuple[str, str, int]]) -> None:
    """Each block once, of no job that is over, and no more than there is room for."""
    cache = ItemCache(MemoryStore(), bytes_max=2 * ROOM)
    kept: list[tuple[str, int]] = []
    for what, job_id, first in steps:
        if what == "put":
            cache.put(job_id, Block(first, 1, b"1\n"))
            kept = [*(key for key in kept if key != (job_id, first)), (job_id, first)][-ROOM:]
        elif what == "pop":
            assert (cache.pop(job_id, first) is not None) == ((job_id, first) in kept)
            kept = [key for key in kept if key != (job_id, first)]
        else:
            cache.forget(job_id)
            kept = [key for key in kept if key[0] != job_id]

    assert [
        key for key in [(job_id, first) for job_id in "abc" for first in range(4)] if cache.pop(*key)
    ] == sorted(kept)
