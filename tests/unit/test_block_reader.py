"""Chunks are cut out of a block without losing a line."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.item import Block
from app.service.items import BlockReader


@given(
    lines=st.lists(st.integers(0, 10**12).map(lambda n: b"%d\n" % n), min_size=1, max_size=600),
    most=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    bytes_max=st.sampled_from([1, 50, 1 << 20]),
    exactly=st.booleans(),
)
def test_what_is_taken_one_after_the_other_is_the_block(
    lines: list[bytes], most: list[int], bytes_max: int, exactly: bool
) -> None:
    """Never more than asked for; as many as asked for, if that is meant exactly and there is room."""
    reader = BlockReader(Block(7, len(lines), b"".join(lines)))
    index, taken = 7, b""
    for turn in range(10_000):
        if index not in reader:
            break
        wanted = most[turn % len(most)]
        part, count = reader.take(index, wanted, bytes_max, exactly=exactly)
        assert part.count(b"\n") == count
        assert 1 <= count <= wanted
        if exactly and bytes_max == 1 << 20:
            assert count == min(wanted, 7 + len(lines) - index)
        index += count
        taken += part
    assert taken == b"".join(lines)
