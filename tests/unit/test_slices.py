"""A large array is split into what it is split into as a whole."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import MillpondError, TooLarge
from app.domain.item import Block
from app.service.intake import split_array
from app.service.slices import NotSliced, outline_of, sliced

ITEM_BYTES_MAX = 1_000

texts = st.text('ab,"[]{}\\\n', max_size=6) | st.sampled_from(["},", "],", '","', "]}"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")])


def lines_of(blocks: list[Block]) -> list[bytes]:
    """The items; blocks follow each other without a gap."""
    first = 0
    for block in blocks:
        assert block.first == first
        assert block.lines.count(b"\n") == block.count
        first = block.stop
    return b"".join(block.lines for block in blocks).splitlines()


def all_sliced(body: bytes, slice_bytes: int = 20) -> list[Block] | None:
    """The blocks of a body's items; None if it must be taken as a whole."""
    outline = outline_of(body)
    if outline is None:
        return None
    try:
        parts = list(sliced(body, outline.start, outline.stop, ITEM_BYTES_MAX, slice_bytes))
    except NotSliced:
        return None
    return [block for part in parts for block in part]


@given(
    items=st.lists(values, min_size=1, max_size=40) | st.lists(st.integers(), min_size=1, max_size=60),
    before=st.dictionaries(st.sampled_from(["task", "params"]), values),
    after=st.dictionaries(st.sampled_from(["label", "metadata"]), values),
    by=separators,
)
@example([{"a": [{"b": 1}, {"c": "},"}]}] * 9, {}, {"metadata": {"items": [1, 2]}}, (",", ":"))
@example([1] * 50, {"params": {"items": [1]}}, {"label": "]"}, (",", ":"))
def test_slices_have_the_items_of_the_whole(
    items: list[Any], before: dict[str, Any], after: dict[str, Any], by: tuple[str, str]
) -> None:
    """Or it is said that there are none, and the whole is split."""
    body = json.dumps({**before, "items": items, **after}, separators=by).encode()

    blocks = all_sliced(body)

    if blocks is not None:
        assert [json.loads(line) for line in lines_of(blocks)] == items


@given(
    items=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(), min_size=1), min_size=1),
    by=separators,
)
def test_what_is_usual_is_sliced(items: list[dict[str, int]], by: tuple[str, str]) -> None:
    """Flat objects under a task's name never hold up the loop."""
    blocks = all_sliced(json.dumps({"task": "t", "items": items}, separators=by).encode())

    assert blocks is not None
    assert len(lines_of(blocks)) == len(items)


@given(array=st.text('[]{},:"1 \n', max_size=40).map(str.encode))
def test_what_is_not_json_has_no_slices(array: bytes) -> None:
    """If slices are had, the whole is an array of the same items."""
    blocks = all_sliced(b'{"items":[%b]}' % array, slice_bytes=4)

    try:
        whole = lines_of(split_array(b"[%b]" % array, ITEM_BYTES_MAX))
    except MillpondError:
        assert blocks is None
    else:
        assert blocks is None or [json.loads(line) for line in lines_of(blocks)] == [
            json.loads(x) for x in whole
        ]


@pytest.mark.parametrize("end", [b",", b",,1", b", 1,"])
def test_a_comma_too_many_is_seen(end: bytes) -> None:
    """At a slice's end too."""
    assert all_sliced(b'{"items":[' + b"1," * 50 + b"1" + end + b"]}") is None


def test_an_item_over_the_limit_is_refused() -> None:
    """By its index in the whole array."""
    body = json.dumps({"items": [*range(40), "x" * ITEM_BYTES_MAX]}).encode()

    with pytest.raises(TooLarge, match="Item 40 has"):
        all_sliced(body)
