"""A JSON body is what it is as a whole, wherever it is cut, and whatever comes first in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.errors import Invalid, Malformed, RequestError, TooLarge
from app.domain.item import Block
from app.service.cutting import Members, ObjectCutter, elements, members_of
from app.service.intake import split_array

ITEM_BYTES_MAX = 1_000
WHOLE = 1 << 30

texts = st.text('ab,"[]{}\\\né\ud83d\x1f', max_size=6).map(
    lambda text: text.encode("utf-8", "ignore").decode()
)
texts |= st.sampled_from(["},", "],", '","', "]}", "😀"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : "), (",\t  \n        ", "  :  ")])
sizes = st.integers(1, 40)


async def _pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def cut(body: bytes, slice_bytes: int, whole_bytes: int = 1, piece_bytes: int = 7) -> Members:
    cutter = ObjectCutter(ITEM_BYTES_MAX, {}, slice_bytes, whole_bytes)
    return asyncio.run(cutter.cut(_pieces(body, piece_bytes)))


def lines_of(blocks: list[Block]) -> list[bytes]:
    """The items; blocks follow each other without a gap."""
    first = 0
    for block in blocks:
        assert block.first == first
        assert block.lines.count(b"\n") == block.count
        first = block.stop
    return b"".join(block.lines for block in blocks).splitlines()


def outcome(body: bytes, slice_bytes: int, whole_bytes: int, piece_bytes: int = 7) -> Any:
    """Members and items, or what is said against them."""
    return told(lambda: cut(body, slice_bytes, whole_bytes, piece_bytes))


def told(find: Callable[[], Members]) -> Any:
    """The same of what is found."""
    try:
        members = find()
        values = {name: bytes(raw) for name, raw in members.values.items()}
        return values, members.items and lines_of(members.blocks(ITEM_BYTES_MAX))
    except RequestError as error:
        return type(error), str(error)


@settings(max_examples=150)
@given(
    items=st.lists(values, max_size=40) | st.lists(st.integers(), max_size=60) | values,
    before=st.dictionaries(st.sampled_from(["task", "params", "é", "b\n"]), values),
    after=st.dictionaries(st.sampled_from(["label", "metadata"]), values),
    by=separators,
    ascii_only=st.booleans(),
    slice_bytes=sizes,
    piece_bytes=sizes,
)
@example([{"a": [{"b": 1}, {"c": "},"}]}] * 9, {}, {"metadata": {"items": [1, 2]}}, (",", ":"), True, 20, 7)
@example([1] * 50, {"params": {"items": [1]}}, {"label": "]"}, (",", ":"), True, 20, 7)
@example(["😀" * 20], {}, {}, (",", ":"), True, 9, 3)
def test_slices_have_the_items_of_the_whole(
    items: Any,
    before: dict[str, Any],
    after: dict[str, Any],
    by: tuple[str, str],
    ascii_only: bool,
    slice_bytes: int,
    piece_bytes: int,
) -> None:
    """And its members, as they were written."""
    body = json.dumps({**before, "items": items, **after}, separators=by, ensure_ascii=ascii_only).encode()

    assert outcome(body, slice_bytes, 1, piece_bytes) == outcome(body, slice_bytes, WHOLE)


@settings(max_examples=150)
@given(
    body=st.text('[]{},:"1 \n\\t', max_size=40).map(lambda text: b'{"items":[%b]}' % text.encode())
    | st.text('[]{},:"1 -.e\n\\utrd8c0a', max_size=40).map(str.encode),
    slice_bytes=sizes,
)
def test_what_is_not_json_is_refused(body: bytes, slice_bytes: int) -> None:
    """Where the whole is, and nothing else."""
    sliced, whole = outcome(body, slice_bytes, 1), outcome(body, slice_bytes, WHOLE)

    assert sliced == whole or sliced[0] is whole[0] is Malformed


@settings(max_examples=150)
@given(
    body=values.map(lambda value: json.dumps({"a": value, "items": [value] * 5, "b": value}).encode()),
    at=st.integers(0, 200),
    instead=st.sampled_from(
        [b"", b",", b"]", b"}", b'"', b"\\", b"\x00", b"x", b"1", b"{", b":", b" ", b"-"]
    ),
    slice_bytes=sizes,
)
def test_a_body_with_a_mistake_is_told_as_the_whole_is(
    body: bytes, at: int, instead: bytes, slice_bytes: int
) -> None:
    """Or it is another body that is right."""
    body = body[: at % len(body)] + instead + body[at % len(body) + 1 :]

    sliced, whole = outcome(body, slice_bytes, 1), outcome(body, slice_bytes, WHOLE)

    assert sliced == whole or sliced[0] is whole[0] is Malformed


names = st.sampled_from(['"items"', '"task"', '"t\\u0061sk"', '"a\\""', '"é"', '""', "1"])


@settings(max_examples=300)
@given(
    members=st.lists(st.tuples(names, values.map(json.dumps)), max_size=4),
    by=separators,
    end=st.sampled_from(["}", "}", "}", " ", "} x"]),
)
@example([("items", "[]"), ("task", '"task"')], (",", ":"), "}")
@example([(f'"{n}"', "1") for n in range(51)], (",", ":"), "}")
def test_a_body_at_hand_is_taken_apart_as_one_that_comes(
    members: list[tuple[str, str]], by: tuple[str, str], end: str
) -> None:
    """A name that is there twice, however it is written, is seen in both."""
    body = ("{" + by[0].join(name + by[1] + value for name, value in members) + end).encode()

    assert told(lambda: members_of(body, ITEM_BYTES_MAX, {})) == outcome(body, 20, WHOLE)


@pytest.mark.parametrize("end", [b",", b",,1", b", 1,", b"]", b"]}", b"]}}"])
def test_a_comma_or_bracket_too_many_is_seen(end: bytes) -> None:
    """At a slice's end too, in the words that are said of the whole."""
    body = b'{"items":[' + b"1," * 50 + b"1" + end + b"]}"

    for slice_bytes in range(1, 30):
        assert outcome(body, slice_bytes, 1) == outcome(body, slice_bytes, WHOLE)
    assert outcome(body, 20, 1)[0] is Malformed


def test_an_item_over_the_limit_is_refused() -> None:
    """By its index in the whole array, and its size without white space if it is written in lines."""
    for large, size in (("x" * 2000, 2002), ([[1] * 500, "x" * 500], 1506)):
        body = json.dumps({"items": [*range(40), large]}, indent=1).encode()

        for slice_bytes in (20, 100_000):
            with pytest.raises(TooLarge, match=f"Item 40 has {size} bytes"):
                cut(body, slice_bytes, 100)


def test_white_space_between_lines_does_not_count() -> None:
    """An item that is as large as one may be, is taken however it is indented."""
    items = [[[1] * 400, "x" * 150], 2]
    body = json.dumps({"items": items}, indent=8).encode()

    assert [json.loads(line) for line in lines_of(cut(body, 50).blocks(ITEM_BYTES_MAX))] == items


@pytest.mark.parametrize("name", ["params", "label"])
def test_a_member_over_its_limit_is_refused_undecoded(name: str) -> None:
    """By its name and limit, once the body is known to be JSON."""
    body = json.dumps({name: "x" * 20_000, "items": []}).encode()
    cutter = ObjectCutter(ITEM_BYTES_MAX, {"params": 20_001})

    with pytest.raises(Invalid, match=f"/{name}: more than {20_001 if name == 'params' else 16_384} bytes"):
        asyncio.run(cutter.cut(_pieces(body, 1_000)))


def test_members_without_end_are_refused() -> None:
    """Before they are many in memory; and so is a name without end."""
    many = json.dumps({f"a{n}": n for n in range(1_000)}).encode()
    long = json.dumps({"a" * 20_000: 1}).encode()

    with pytest.raises(Invalid, match="more than 50 members"):
        cut(many, 100)
    with pytest.raises(Invalid, match="a member whose name has more than 16384 bytes"):
        cut(long, 100)


def test_what_is_nested_without_end_is_refused() -> None:
    """As the decoder refuses it, which follows no more."""
    for text in (b"[" * 50_000, b'{"a":[1,' * 20_000):
        assert "recursion" in outcome(b'{"items":[' + text, 100, 1, 10_000)[1]


@given(array=st.lists(values, max_size=40), by=separators, slice_bytes=sizes)
def test_an_array_of_its_own_is_cut_the_same(array: list[Any], by: tuple[str, str], slice_bytes: int) -> None:
    """As those are that are appended."""
    text = json.dumps(array, separators=by).encode()

    blocks = asyncio.run(elements(_pieces(text, 7), ITEM_BYTES_MAX, slice_bytes, 1))

    assert lines_of(blocks) == lines_of(split_array(text, ITEM_BYTES_MAX))


@pytest.mark.parametrize("text", [b"[1,2", b"[1,2]x", b"[1,,2]", b"[1 2]", b"x"])
def test_what_is_no_array_is_refused(text: bytes) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(Malformed):
        asyncio.run(elements(_pieces(text, 1), ITEM_BYTES_MAX, 4, 1))
