"""Result lines and items, as bytes."""

import json
import mmap
import tracemalloc
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.flags import take
from app.domain.item import (
    Block,
    Page,
    Segment,
    Told,
    cut,
    divided,
    failure_line,
    files_named,
    holds,
    holes,
    is_failure,
    key_of,
    keyless,
    number_of_lines,
    strips,
)
from workers.report import Order, Report, key_of_line
from workers.wire import Frame, Kind, Marks

texts = st.text('ab"\\{}:,é\n\r\u2028🌙', max_size=8) | st.sampled_from(
    ['","error":{}', '\\","error":', '{"index":0,"error":1}', "error", "output"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def lines_of_a_worker(
    items: list[dict[str, Any]], key_field: str | None, attempt: int, seconds: float = 0.0
) -> bytes:
    """What a worker reports of these items, which say themselves whether they fail."""
    sent: list[Frame] = []
    marks = Marks(mmap.mmap(-1, 64), 0)
    marks.clear()
    order = Order("any", {}, attempt, attempt, key_field, None, 0)
    report = Report(Frame(Kind.CHUNK, count=len(items)), order, (), marks, sent.append)
    for index, item in enumerate(items):
        key = key_of_line(msgspec.json.encode(item), key_field)
        if item["fail"]:
            report.failed(index, key, ValueError(str(item["value"])), None, "", seconds)
        else:
            report.succeeded(index, key, msgspec.json.encode(item["value"]), seconds)
    report.flush()
    return b"".join(part for frame in sent for part in (frame.body, *frame.more))


@given(
    st.lists(
        st.fixed_dictionaries({"fail": st.booleans(), "id": json_values, "value": json_values}), max_size=6
    ),
    st.sampled_from([None, "id", "absent"]),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.0123]),
)
@example([{"fail": True, "id": 'a","output":"', "value": 0}], "id", 1, 0.0)
@example([{"fail": True, "id": 'a",', "value": 0}, {"fail": False, "id": '",', "value": 0}], "id", 1, 0.0)
@example([{"fail": False, "id": '\\","error":', "value": ',"attempts":3'}], "id", 1, 0.0)
@example([{"fail": False, "id": 0, "value": {"a": 1, "attempts": 3, "duration_ms": 1.5}}], "id", 1, 0.0)
def test_a_failure_is_told_by_its_line(
    items: list[dict[str, Any]], key_field: str | None, attempt: int, seconds: float
) -> None:
    """Of the very lines that workers write, whatever keys and outputs say."""
    lines = lines_of_a_worker(items, key_field, attempt, seconds).splitlines(keepends=True)

    assert len(lines) == len(items)
    for line in lines:
        assert is_failure(line) == ("error" in json.loads(line))
        assert is_failure(line[:-2] + b" " * 5_000 + line[-2:]) == is_failure(line), "however long it is"
        assert what_is_told(line) == json.loads(line)


def what_is_told(line: bytes) -> dict[str, Any]:
    """The document of a line, put together again from its parts."""
    told = Told.by(line.rstrip(b"\n"))
    names = ("key", "output", "error", "attempts", "duration_ms")
    members = {name: part for name in names if (part := getattr(told, name)) is not None}
    return {"index": json.loads(line)["index"]} | {name: json.loads(bytes(members[name])) for name in members}


@given(index=st.integers(0, 10**9), key=json_values, attempts=st.integers(1, 9))
@example(index=0, key='a",', attempts=1)
def test_the_line_of_an_item_that_could_not_speak_is_a_failure(
    index: int, key: object, attempts: int
) -> None:
    """It is written like any other: index, key, error, attempts if more than one."""
    scalar = key if isinstance(key, str | int | float) else None
    raw = None if scalar is None else msgspec.Raw(msgspec.json.encode(scalar))
    line = failure_line(index, raw, {"kind": "crashed"}, attempts)

    assert is_failure(line)
    assert what_is_told(line) == json.loads(line)
    assert line.endswith(b"\n")
    expected = {"index": index, "key": scalar, "error": {"kind": "crashed"}, "attempts": attempts}
    if scalar is None:
        del expected["key"]
    if attempts == 1:
        del expected["attempts"]
    assert list(json.loads(line).items()) == list(expected.items())


@given(
    fates=st.lists(st.booleans(), max_size=20),
    outcome=st.sampled_from([None, "succeeded", "failed"]),
    skip=st.integers(0, 25),
    most=st.integers(0, 25),
)
def test_lines_are_taken_by_outcome_and_place(
    fates: list[bool], outcome: str | None, skip: int, most: int
) -> None:
    """In their order; skipped ones count only if they are of the outcome."""
    lines = [b'{"index":%d,"%b":1}\n' % (i, b"error" if bad else b"output") for i, bad in enumerate(fates)]
    chosen = [
        line
        for line, bad in zip(lines, fates, strict=True)
        if outcome in (None, "failed" if bad else "succeeded")
    ][skip : skip + most]

    assert take(b"".join(lines), outcome, skip, most) == (b"".join(chosen), len(chosen))  # type: ignore[arg-type]


@given(
    lines=st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    start=st.integers(0, 12),
    most=st.integers(0, 15),
)
def test_a_cut_is_after_so_many_lines(lines: list[bytes], start: int, most: int) -> None:
    """Or at the end, if there are fewer."""
    ended = [line + b"\n" for line in lines]
    offset = len(b"".join(ended[:start]))

    assert cut(b"".join(ended), offset, most) == offset + len(b"".join(ended[start : start + most]))


@given(
    total=st.integers(0, 40), done=st.sets(st.integers(0, 39)), joints=st.lists(st.booleans(), min_size=40)
)
def test_holes_are_what_is_not_done(total: int, done: set[int], joints: list[bool]) -> None:
    """However the done ranges are cut."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(index for index in done if index < total):
        if ranges and sum(ranges[-1]) == index and joints[index]:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((index, 1))

    left = holes(total, ranges)

    assert [index for first, stop in left for index in range(first, stop)] == [
        index for index in range(total) if index not in done
    ]
    assert all(first < stop for first, stop in left)
    assert all(one[1] < other[0] for one, other in pairwise(left))  # none could be one


@pytest.mark.parametrize(
    ("item", "key"),
    [
        (b'{"id":"a\\"b"}', 'a"b'), (b'{"id":1.5}', 1.5), (b'{"id":false}', False), (b'{"id":0}', 0),
        (b'{"id":null}', None), (b'{"id":[1]}', None), (b'{"id":{}}', None), (b'{"x":1}', None),
        (b"[1]", None), (b'"id"', None), (b"1", None), (b"null", None), (b"{", None), (b"", None),
        (b'{"id":"\xff"}', None), (b"[" * 100_000, None), (b'{"id":1e999}', None), (b'{"id": "a", "x":1}', "a"),
        (b'{"id":-1}', -1), (b'{"id": true }', True),
    ],
)  # fmt: skip
def test_a_key_is_a_scalar_of_the_item(item: bytes, key: object) -> None:
    """Of an object that has one there; anything else has none, and that is no error."""
    found = value_of(key_of(item, "id"))

    assert (found, type(found)) == (key, type(key))
    assert key_of(item, None) is None


def value_of(key: msgspec.Raw | None) -> object:
    """What it says."""
    return None if key is None else msgspec.json.decode(key)


def test_a_key_stands_as_it_came() -> None:
    """It may be megabytes of escapes: to make a text of them, and them of it again, would hold everybody up."""
    key = key_of(rb'{"id":"\u00e9\n","x":1}', "id")

    assert Told.by(failure_line(3, key, {"kind": "crashed"}, 1).rstrip()).key == rb'"\u00e9\n"'


@given(index=st.integers(0, 10**9), key=json_values, failed=st.booleans())
def test_a_line_can_do_without_its_key(index: int, key: object, failed: bool) -> None:
    """The rest says what it said."""
    line = lines_of_a_worker([{"fail": failed, "id": key, "value": 1}], "id", 1)

    told = json.loads(line)
    told.pop("key", None)
    assert json.loads(keyless(line)) == told


@pytest.mark.parametrize("name", ["id", "", "a b", "é", 'a"b', "a\\b", "\n", "type"])
def test_a_key_is_found_whatever_its_name(name: str) -> None:
    """As a worker finds it; of several the last counts."""
    item = json.dumps({"other": [1], name: 1, name + "x": 3}).encode()
    twice = item[:-1] + b"," + json.dumps({name: 2}).encode()[1:]

    assert [value_of(key_of(item, name)), value_of(key_of(twice, name))] == [1, 2]
    assert [key_of_line(item, name), key_of_line(twice, name)] == [1, 2]
    assert key_of(b'{"other":1}', name) is None


def test_a_key_is_found_without_making_anything_of_the_other_members() -> None:
    """The loop does that for an item that ended its worker: of a large one a hundred times as much would be made."""
    item = json.dumps({str(number): number for number in range(20_000)} | {"id": 7}).encode()
    tracemalloc.start()
    try:
        found = key_of(item, "id")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert value_of(found) == 7
    assert most < len(item) / 2


def test_places_add_up() -> None:
    """Where a block stops and where a page's next one starts."""
    assert Block(5, 3, b"").stop == 8
    assert Page(b"", 5, 3).next_after == 8
    assert Segment("j", 0, 1, 0, 0, 0, b"").lines == b""


def test_a_file_is_seen_however_its_name_is_written() -> None:
    """JSON may escape any letter; a worker that decodes the item finds the name."""
    name = "sha256-" + "0a" * 32
    escaped = "".join(f"\\u{ord(letter):04X}" for letter in name)

    assert files_named(f'{{"file":"{name}"}}'.encode()) == [name]
    assert files_named(f'["{escaped}"]\n'.encode()) == [name]
    assert files_named(f'["{name.replace("s", chr(92) + "u0073")}"]'.encode()) == [name]
    assert files_named(b'"sha256-00"', rb'"\\u0073ha256-"') == []


@given(
    st.lists(st.sampled_from([b"1\n", b"\n", b"x" * 4095 + b"\n", b"x" * 9000 + b"\n", b"x"]), max_size=12),
    st.data(),
)
def test_lines_are_counted_and_cut_however_long_they_are(parts: list[bytes], data: st.DataObject) -> None:
    """Long ones are looked for one by one, short ones together."""
    text = b"".join(parts)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    most = data.draw(st.integers(0, 13))

    assert number_of_lines(text, start, stop) == text.count(b"\n", start, stop)
    assert number_of_lines(text) == text.count(b"\n")
    lines = text[start:].split(b"\n")
    taken = b"".join(line + b"\n" for line in lines[:most]) if most < len(lines) else text[start:]
    assert cut(text, start, most) == start + len(taken)


@given(st.lists(st.sampled_from(["a", "b", "escaped", "x"]), max_size=3), st.integers(0, 600_000))
def test_files_are_found_in_every_part_of_a_large_text(names: list[str], size: int) -> None:
    """Wherever it is cut, and though texts that name none are left out."""
    words = {name: b"sha256-" + name.encode() * 64 for name in "ab"}
    words["x"] = b"-"
    words["escaped"] = b"\\u0073ha256-" + b"c" * 64
    filler = b"y" * size
    text = filler + filler.join(words[name] for name in names) + filler

    found = {name for strip in strips(text) for name in files_named(strip)}

    assert found == {f"sha256-{name[:1].replace('e', 'c') * 64}" for name in names if name != "x"}


@given(
    st.text("-256as", max_size=12).map(str.encode),
    st.lists(st.sampled_from([b"-", b"sha256-", b"sha256", b"x" * 5000, b"-" * 100]), max_size=8).map(
        b"".join
    ),
)
@example(b"6-", b"x" * 5000)
@example(b"sha256-", b"-" * 9000)
def test_what_stands_in_a_text_is_found_however_often_its_rare_byte_does(start: bytes, rest: bytes) -> None:
    """A text has the word that is looked for or not, whatever is looked for first."""
    text = start + rest
    assert holds(text, b"sha256-", rare=b"-") == (b"sha256-" in text)
    assert holds(text, b"-s", rare=b"-") == (b"-s" in text)


@pytest.mark.parametrize("at", range(9))
def test_blocks_are_divided_at_any_item(at: int) -> None:
    """A block is cut where that is within it, and no line is lost."""
    blocks = [Block(2, 3, b"a\nbb\nc\n"), Block(5, 2, b"d\nee\n")]

    before, after = divided(blocks, at)

    assert b"".join(block.lines for block in before + after) == b"a\nbb\nc\nd\nee\n"
    assert [index for block in before for index in range(block.first, block.stop)] == list(
        range(2, min(at, 7))
    )
    assert [index for block in after for index in range(block.first, block.stop)] == list(
        range(max(at, 2), 7)
    )
    assert all(block.lines.count(b"\n") == block.count for block in before + after)
