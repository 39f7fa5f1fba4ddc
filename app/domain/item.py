"""Items and their results, as bytes.

An item is one line of JSON; a result is one line of JSON; nothing here builds objects of a whole block.
A block is a run of item lines and a segment a run of result lines, both of contiguous indexes and both
ending in a newline.

Invariant: a result line starts with its index, then its key if it has one, then `output` or `error`; after that come
`attempts` and `duration_ms`, if they are told, and nothing else.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import msgspec

Outcome = Literal["succeeded", "failed"]
Order = Literal["completion", "index"]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = msgspec.Raw(b"null")
_STRIDE_BYTES, _STRIDE_BYTES_MIN = 4 << 10, 64
_FEW_LINES = 8
_FILE = re.compile(rb"sha256-[0-9a-f]{64}")
_FILE_BYTES_MAX = 6 * len("sha256-" + 64 * "0")
"""Of an id, every letter of which is an escape."""
_ESCAPES = {rb"\u00%02x" % letter: b"%c" % letter for letter in b"sha-0123456789bcdef"} | {rb"\u002D": b"-"}
"""The letters of an id."""
_STRIP_BYTES = 256 << 10
_GLANCE_BYTES = 2 << 20
"""So much can be looked at whether it names anything at all, before it is cut."""
FAILURE = re.compile(rb'\{"index":\d+(?:,"key":(?:"(?>(?:[^"]++|"(?!,"[eo]))*)"|[^",]*+))?,"error":')
_HEAD = re.compile(rb'\{"index":\d+,(?P<keyed>"key":)?')
HEAD_BYTES = 4 << 10
"""Longer lines may have a long key, whose end the expressions take far longer to find."""
_END = re.compile(rb'(?:,"attempts":(?P<attempts>\d+))?(?:,"duration_ms":(?P<took>[\d.]+))?\}\Z')
_END_BYTES_MAX = 128
ERROR, _OUTPUT = b'"error":', b'"output":'


class Block(msgspec.Struct, frozen=True, gc=False):
    """Items `first` … `first + count - 1` of a job, one line each."""

    first: int
    count: int
    lines: bytes

    @property
    def stop(self) -> int:
        return self.first + self.count


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Results of items `first` … `first + count - 1`, in index order; `failed` of them are failures.

    `done_before` and `failed_before` count the job's lines that stand before it in the log.
    """

    job_id: str
    first: int
    count: int
    failed: int
    done_before: int
    failed_before: int
    lines: bytes


@dataclass(frozen=True, slots=True)
class View:
    """A way to read the log; a cursor of it is how many of its lines were read."""

    order: Order = "completion"
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Lines `after` … `after + count - 1` of a view.  `lines` end in newlines."""

    lines: bytes
    after: int
    count: int

    @property
    def next_after(self) -> int:
        return self.after + self.count


@dataclass(frozen=True, slots=True)
class Told:
    """What a result line says, as the JSON that it is made of; None is what it does not say."""

    key: bytes | None
    output: memoryview | None
    error: bytes | None
    attempts: bytes | None
    duration_ms: bytes | None

    @classmethod
    def by(cls, line: bytes) -> Self:
        """Of a line without its newline; its output is neither looked at nor copied."""
        (key, begin), end = _key(line), _END.search(line, max(0, len(line) - _END_BYTES_MAX))
        assert end is not None, "a result line ends with what is told of its attempts and time"
        failed = line.startswith(ERROR, begin)
        value = slice(begin + len(ERROR if failed else _OUTPUT), end.start())
        return cls(
            key,
            None if failed else memoryview(line)[value],
            line[value] if failed else None,
            end["attempts"],
            end["took"],
        )


def is_failure(line: bytes) -> bool:
    """Whether a result line says `error`."""
    if len(line) > HEAD_BYTES:
        return line.startswith(ERROR, _key(line)[1])
    return FAILURE.match(line) is not None


def _key(line: bytes) -> tuple[bytes | None, int]:
    """The key of a result line, as JSON, and where `"output"` or `"error"` stands.

    Within the text of a key a quote is an escape, so `","` stands there at most at its very end.
    """
    head = _HEAD.match(line)
    assert head is not None, "a result line begins with its index"
    start = head.end()
    if not head["keyed"]:
        return None, start
    if line.startswith(b'"', start):
        stop = line.find(b'","', start + 1) + 1
        if line.startswith(b",", stop + 2):
            stop += 2
    else:
        stop = line.find(b",", start)
    return line[start:stop], stop + 1


def keyless(line: bytes) -> bytes:
    """The result line without its key, which may be megabytes."""
    key, begin = _key(line)
    return line if key is None else line[: line.index(b",") + 1] + line[begin:]


def files_named(*texts: bytes) -> list[str]:
    """The file ids that stand anywhere in these, each once: more than are meant as files, but none less.

    Items are not decoded for it; but as JSON may write any letter as an escape (RFC 8259, section 7), those are undone.
    """
    found: set[bytes] = set()
    for text in texts:
        if _may_escape(text):
            found.update(_FILE.findall(_unescaped(text)))
        if _may_name(text):
            found.update(_FILE.findall(text))
    return sorted(name.decode() for name in found)


def strips(*texts: bytes) -> Iterator[bytes]:
    """Parts of the texts that together name the same files; neighbours overlap by more than the length of an id.

    A text that names none, at a glance, is left out.
    """
    for text in texts:
        if len(text) <= _STRIP_BYTES:
            yield text
            continue
        if len(text) <= _GLANCE_BYTES and not (_may_name(text) or _may_escape(text)):
            continue
        for start in range(0, len(text), _STRIP_BYTES):
            yield text[start : start + _STRIP_BYTES + _FILE_BYTES_MAX]


def holds(text: bytes, sought: bytes, rare: bytes) -> bool:
    """Whether `sought` stands in the text; `rare` is a byte of it that stands elsewhere seldom, or not at all.

    To look for one byte costs 0.05 ns for each that is looked through, for several 0.5 to 1 ns.  So places of that
    byte are tried, unless there turn out to be many.
    """
    if len(text) < _STRIDE_BYTES:
        return sought in text
    before = sought.index(rare)
    place = text.find(rare)
    for _ in range(len(text) // _STRIDE_BYTES):
        if place < 0:
            return False
        if place >= before and text.startswith(sought, place - before):
            return True
        place = text.find(rare, place + 1)
    return place >= 0 and text.find(sought, max(0, place - before)) >= 0


def _may_name(text: bytes) -> bool:
    """Whether an id may stand there as it is."""
    return holds(text, b"sha256-", rare=b"-")


def _may_escape(text: bytes) -> bool:
    """Whether a letter of an id may stand there as an escape."""
    return holds(text, b"\\u00", rare=b"\\")


def _unescaped(text: bytes) -> bytes:
    for escape, letter in _ESCAPES.items():
        text = text.replace(escape, letter)
    return text


def divided(blocks: Sequence[Block], at: int) -> tuple[list[Block], list[Block]]:
    """The blocks of the items before index `at`, and of those from there on; one may have to be cut for it."""
    before: list[Block] = []
    after: list[Block] = []
    for block in blocks:
        if block.stop <= at:
            before.append(block)
        elif block.first >= at:
            after.append(block)
        else:
            count = at - block.first
            end = cut(block.lines, 0, count)
            before.append(Block(block.first, count, block.lines[:end]))
            after.append(Block(at, block.count - count, block.lines[end:]))
    return before, after


def number_of_lines(lines: bytes, start: int = 0, stop: int | None = None) -> int:
    """How many end between these offsets."""
    stop = len(lines) if stop is None else stop
    found, start = _long_lines(lines, start, stop, stop)
    return found + lines.count(b"\n", start, stop)


def _long_lines(lines: bytes, start: int, stop: int, most: int) -> tuple[int, int]:
    """How many lines from `start` on are long, up to one that is not, and where the last of them ends.

    To look for the end of one costs a tenth, for each byte, of counting ends.
    """
    found = 0
    while found < most and (end := lines.find(b"\n", start, stop) + 1) - start >= _STRIDE_BYTES:
        found, start = found + 1, end
    return found, start


def line_at(lines: bytes, number: int) -> bytes:
    """One of the lines, without its newline."""
    start = cut(lines, 0, number)
    return lines[start : lines.index(b"\n", start)]


def cut(lines: bytes, start: int, most: int) -> int:
    """Where `most` lines from offset `start` on end, or the end of `lines`."""
    found, end = _long_lines(lines, start, len(lines), most)
    most -= found
    # Whole strides, and then parts of one, are only counted: a fiftieth of what looking for each line's end costs.
    stride = _STRIDE_BYTES
    while most > _FEW_LINES:
        there = lines.count(b"\n", end, end + stride)
        if there < most:
            most -= there
            end += stride
            if end >= len(lines):
                return len(lines)
        elif stride > _STRIDE_BYTES_MIN:
            stride //= 4
        else:
            break
    for _ in range(most):
        end = lines.find(b"\n", end) + 1
        if end in (0, len(lines)):
            return len(lines)
    return end


def key_of(item: bytes, key_field: str | None) -> msgspec.Raw | None:
    """The item's own key, as the JSON that it is made of; None where it has none that is a scalar."""
    if key_field is None:
        return None
    try:
        key = member_of(item, key_field)
        if key is None:
            return None
        match memoryview(key)[0]:
            case 0x22:  # a text: what else it is made of was looked at when it was found
                str(key, "utf-8")
            case 0x5B | 0x6E | 0x7B:  # an array, null, an object
                return None
            case _:
                msgspec.json.decode(key)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return key


def member_of(text: bytes, name: str) -> msgspec.Raw | None:
    """The object's member, the last if there are several, as JSON; None if there is none.

    DecodeError or RecursionError if the text is no object.
    """
    try:
        found = _keyed(name)(text)
    except KeyError:
        return None
    return None if found is _NULL else found


@lru_cache(64)
def _keyed(key_field: str) -> Callable[[bytes], msgspec.Raw]:
    """What finds this member of an item: the others are passed, and nothing is made of them.  KeyError if it is not."""
    try:
        keyed = msgspec.defstruct("Keyed", [("key", msgspec.Raw, _NULL)], rename={"key": key_field}, gc=False)
    except ValueError:  # a name with quotes or the like cannot be a field's
        return lambda item: _members(item)[key_field]
    decode = msgspec.json.Decoder(keyed).decode
    return lambda item: decode(item).key  # type: ignore[attr-defined]  # made above


def failure_line(index: int, key: msgspec.Raw | None, error: dict[str, Any], attempts: int) -> bytes:
    """The result line of an item that could not report its own end; its key may be megabytes, and stands as it is."""
    line: dict[str, Any] = {"index": index}
    if key is not None:
        line["key"] = key
    line["error"] = error
    if attempts > 1:
        line["attempts"] = attempts
    return msgspec.json.encode(line) + b"\n"


def forget(by_index: dict[int, Any], first: int, stop: int) -> None:
    """Drop what is known of items `first` … `stop - 1`, looked for where there are fewer."""
    some = list(by_index) if len(by_index) < stop - first else range(first, stop)
    for index in some:
        if first <= index < stop:
            by_index.pop(index, None)


def holes(total: int, done: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges (first, stop) of `range(total)` that `done`, sorted (first, count) pairs, leave out."""
    left: list[tuple[int, int]] = []
    position = 0
    for first, count in done:
        if first > position:
            left.append((position, first))
        position = max(position, first + count)
    if position < total:
        left.append((position, total))
    return left
