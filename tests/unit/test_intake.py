"""A body becomes the same items wherever the network cut it; what an item says is left alone."""

import json
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.errors import Invalid, Malformed, TooLarge
from app.domain.item import Block
from app.service.intake import BLOCK_BYTES, LARGE_BLOCK_BYTES, LONG_BYTES, LineCutter, grouped, split_array

ITEM_BYTES_MAX = 1 << 20
MARK = b"\xef\xbb\xbf"

LONG = b'"%b"' % (b"x" * LONG_BYTES)
bodies = st.lists(
    st.sampled_from(
        [
            b"1",
            b'"a b"',
            b" ",
            b"\t",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"\x0b",
            b"\x0c",
            MARK,
            LONG,
            LONG + b"\n",
        ]
    )
).map(b"".join)
cuts = st.lists(st.integers(0, 40), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def pieces_of(sent: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The body cut at these positions."""
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    return [sent[start:stop] for start, stop in pairwise(places)]


def cut_up(pieces: Sequence[bytes], item_bytes_max: int = ITEM_BYTES_MAX) -> list[Block]:
    cutter = LineCutter(item_bytes_max)
    return [block for piece in pieces for block in cutter.feed(piece)] + list(cutter.finish())


def lines_in(blocks: Sequence[Block]) -> list[bytes]:
    """The lines of blocks that follow each other without a gap and count what they hold."""
    first = 0
    for block in blocks:
        assert (block.first, block.count) == (first, block.lines.count(b"\n"))
        assert block.lines.endswith(b"\n")
        first = block.stop
    return b"".join(block.lines for block in blocks).split(b"\n")[:-1]


def items_of(sent: bytes) -> list[bytes]:
    """What JSON lines mean, said as simply as possible."""
    return [line for line in sent.removeprefix(MARK).split(b"\n") if line.strip(b" \t\r")]


@given(bodies, cuts)
@example(MARK + b"1\r\n\n \n2\n\n3", [1, 2, 3])
@example(b"\x0b\n\n1", [])
@example(b"1\r \r2\n\n", [])
def test_an_item_is_a_line_that_is_not_blank(sent: bytes, cuts: list[int]) -> None:
    """A line ends at a newline and nowhere else; one of spaces is none; a mark counts only at the beginning."""
    assert lines_in(cut_up(pieces_of(sent, cuts))) == items_of(sent)


@settings(max_examples=20)
@given(bodies.filter(items_of), st.integers(1, 3), cuts)
def test_a_large_body_is_cut_into_the_same_items(sent: bytes, blocks: int, cuts: list[int]) -> None:
    """However many blocks it needs, and wherever it is cut around their ends."""
    large = sent + b"\n" + (sent.replace(MARK, b"") + b"\n") * (blocks * BLOCK_BYTES // len(sent))
    around = [len(large) * n // 4 + cut for n, cut in enumerate(cuts)]

    assert lines_in(cut_up(pieces_of(large, around))) == items_of(large)


@pytest.mark.parametrize("size", [10, 5000])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_item_over_the_limit_is_refused(size: int, end: bytes) -> None:
    """One byte more than the limit is too many; the limit itself is allowed."""
    assert lines_in(cut_up([b"1\n" + b"x" * size + end], size)) == [b"1", b"x" * size]
    with pytest.raises(TooLarge, match=f"{size}"):
        cut_up([b"1\n" + b"x" * (size + 1) + end], size)


def test_an_item_that_never_ends_is_refused_before_it_does() -> None:
    """Memory is bounded by the limit of an item, not by what a client sends."""
    cutter = LineCutter(BLOCK_BYTES)

    for _ in range(2):
        assert list(cutter.feed(b"x" * (BLOCK_BYTES // 2))) == []
    with pytest.raises(TooLarge):
        list(cutter.feed(b"x"))


def test_large_items_share_larger_blocks() -> None:
    """Small ones do not, so that little is read for one of them."""
    line = b"x" * 100_000 + b"\n"
    pieces = [line * 2] * 50

    large = [block.count for block in cut_up(pieces)]
    small = [len(block.lines) for block in cut_up([b"1\n" * 50_000] * 50)]

    assert large[0] == 4
    assert set(large[1:-1]) == {8}
    assert LARGE_BLOCK_BYTES <= 8 * len(line) < LARGE_BLOCK_BYTES + 2 * len(line)
    assert max(small) < 2 * BLOCK_BYTES


@pytest.mark.parametrize("size", [9, 5 * BLOCK_BYTES])
def test_the_line_that_is_told_is_that_of_the_body(size: int) -> None:
    """Blank lines, and blocks before it, count as an editor counts them."""
    body = MARK + b"\n\n12345678\n \n" * 2 + b"x" * size + b"\n"

    with pytest.raises(TooLarge, match="Line 9 "):
        cut_up([body[start : start + 7777] for start in range(0, len(body), 7777)], 8)


@given(st.lists(json_values, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_items_of_an_array_are_its_elements(
    items: list[object], indent: int | str | None, ascii_: bool
) -> None:
    """However it is written, each element is a line that means the same."""
    array = json.dumps(items, indent=indent, ensure_ascii=ascii_).encode()

    assert [json.loads(line) for line in lines_in(split_array(array, ITEM_BYTES_MAX))] == items


def test_a_span_is_kept_byte_for_byte() -> None:
    """Numbers and escapes are not written anew, unless a newline within has to go."""
    spans = lines_in(split_array(b'[1.50 , "\\u0041", {"a" : 1e2},{"b":\n1.50}]', ITEM_BYTES_MAX))

    assert spans == [b"1.50", b'"\\u0041"', b'{"a" : 1e2}', b'{"b":1.50}']


def test_a_large_array_becomes_many_blocks() -> None:
    """Blocks are not much more than `BLOCK_BYTES`."""
    items = [f"{number:09}" for number in range(BLOCK_BYTES // 4)]

    blocks = split_array(json.dumps(items).encode(), ITEM_BYTES_MAX)

    assert len(blocks) == 3
    assert [json.loads(line) for line in lines_in(blocks)] == items


def test_an_element_over_the_limit_is_refused_by_its_index() -> None:
    """Quotes count; the limit itself is allowed."""
    assert lines_in(split_array(b'[1,"12345678"]', 10)) == [b"1", b'"12345678"']
    with pytest.raises(TooLarge, match="Item 1 "):
        split_array(b'[1,"123456789"]', 10)


@pytest.mark.parametrize("array", [b"", b"[1", b"[1,]", b"[1] 2", b"[NaN]", b"[" * 100_000])
def test_what_is_no_json_is_malformed(array: bytes) -> None:
    """It cannot be parsed."""
    with pytest.raises(Malformed, match="items"):
        lines_in(split_array(array, ITEM_BYTES_MAX))


@pytest.mark.parametrize("array", [b"{}", b"null", b"1", b'"[]"'])
def test_what_is_no_array_is_invalid(array: bytes) -> None:
    """It is understood, and not what is needed."""
    with pytest.raises(Invalid, match="items") as raised:
        split_array(array, ITEM_BYTES_MAX)
    assert [fault.pointer for fault in raised.value.faults] == ["/items"]


@given(st.lists(json_values, max_size=5))
def test_items_made_here_are_cut_the_same_way(items: list[object]) -> None:
    """Items of files are lines like any other."""
    blocks = list(grouped(map(msgspec.json.encode, items), ITEM_BYTES_MAX))
    assert [json.loads(line) for line in lines_in(blocks)] == items
