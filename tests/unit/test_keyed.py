"""The key of a large item is that of a small one."""

import asyncio
import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.engine import Chunk
from app.domain.item import key_of
from app.service.keyed import NAME_BYTES_MAX, WHOLE_BYTES, Keys, key_in

SLICE_BYTES = 16

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)
members = st.lists(st.tuples(st.sampled_from(["id", "ID", "", "a" * 30, 'q"q', "é"]), values), max_size=5)


def object_of(pairs: list[tuple[str, object]], space: str, *, ascii_only: bool) -> bytes:
    told = (
        f"{json.dumps(name, ensure_ascii=ascii_only)}{space}:{space}{json.dumps(value, ensure_ascii=ascii_only)}{space}"
        for name, value in pairs
    )
    return f"{space}{{{space}{f',{space}'.join(told)}}}{space}".encode()


def found(item: bytes, name: str) -> bytes | None:
    key = asyncio.run(key_in(item, name, SLICE_BYTES))
    return None if key is None else bytes(key)


def expected(item: bytes, name: str) -> bytes | None:
    key = key_of(item, name)
    return None if key is None else bytes(key)


@given(
    members, st.sampled_from(["", " ", " " * 20]), st.booleans(), st.sampled_from(["id", 'q"q', "é", "none"])
)
def test_the_key_is_found_by_slices(
    pairs: list[tuple[str, object]], space: str, ascii_only: bool, name: str
) -> None:
    """Wherever these are cut; of several of the name the last."""
    item = object_of(pairs, space, ascii_only=ascii_only)

    assert found(item, name) == expected(item, name)


@given(members, st.data())
@example([("id", "\\" * 40)], None)
def test_what_is_no_json_has_no_key(pairs: list[tuple[str, object]], data: st.DataObject | None) -> None:
    """Or the one that it has anyway."""
    item = object_of(pairs, "", ascii_only=False)
    if data is not None and item:
        place = data.draw(st.integers(0, len(item) - 1))
        item = item[:place] + data.draw(st.binary(max_size=2)) + item[place + 1 :]

    assert found(item, "id") == expected(item, "id")


@pytest.mark.parametrize(
    "item",
    [
        b"",
        b" ",
        b"[1]",
        b"7",
        b"{}",
        b'{"id":1}x',
        b'{"id":1,}',
        b'{"id":"' + b"\\u0061" * 50 + b'"}',
        b'{"id":"' + b'\\"' * 50 + b'","a":"' + b"\\\\" * 50 + b'"}',
        b'{"' + b"\\u0069\\u0064" + b'":"' + b"x" * 50 + b'"}',
        b'{"id":"' + "é".encode() * 50 + b'"}',
        b'{"id":"' + b"x" * 40 + b'\xff"}',
        b'{"id":"' + b"x" * 40 + b'","id":null}',
        b'{"id":' + b"1" * 50 + b"}",
        b'{"id":' + b"[" * 50 + b"]" * 50 + b',"a":1}',
        b'{"' + b"n" * (NAME_BYTES_MAX + 1) + b'":1,"id":2}',
        b'{"id":"a","' + b"n" * (NAME_BYTES_MAX + 1) + b'":"' + b"x" * 50 + b'"}',
    ],
    ids=lambda item: item[:30].decode(errors="replace"),
)
def test_odd_items_have_the_same_key_too(item: bytes) -> None:
    """Or none."""
    assert found(item, "id") == expected(item, "id")


def test_others_have_the_loop_while_a_large_key_is_found() -> None:
    """A slice at a time."""
    slices = 40

    async def story() -> int:
        finding = asyncio.create_task(key_in(b'{"id":"' + b"\\u0061" * (slices * 100) + b'"}', "id", 600))
        turns = 0
        while not finding.done():
            await asyncio.sleep(0)
            turns += 1
        assert finding.result() is not None
        return turns

    assert asyncio.run(story()) >= slices


@pytest.mark.parametrize("size", [10, WHOLE_BYTES, 2 * WHOLE_BYTES])
def test_a_key_is_told_at_once_unless_its_item_is_large(size: int) -> None:
    """Then it is told later, or never where the service stops before."""
    line = b'{"id":"%b"}' % (b"k" * (size - len(b'{"id":""}')))
    chunk = Chunk(1, "echo", b"{}", 5, 2, b"1\n" + line + b"\n", None)
    told: list[msgspec.Raw | None] = []

    async def story() -> None:
        keys = Keys()
        keys.find(chunk, 6, "id", told.append)
        assert len(told) == (size <= WHOLE_BYTES)
        await asyncio.gather(*keys._finding)
        assert told == [msgspec.Raw(line[6:-1])]
        keys.find(chunk, 6, "id", told.append)
        keys.stop()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(told) == 1 + (size <= WHOLE_BYTES)

    asyncio.run(story())
