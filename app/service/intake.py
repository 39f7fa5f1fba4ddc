"""From a submitted body to blocks of item lines, without looking into the items.

A JSONL body is cut at newlines, in blocks of about `BLOCK_BYTES`, or more where items are large; a JSON array is
split into the spans of its elements.  What an item says is checked where it runs.

Invariant: item `n` of a job is the n-th non-blank line, or the n-th element, of what was sent.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from app.domain.errors import Fault, Invalid, Malformed, TooLarge
from app.domain.item import Block, holds, number_of_lines
from app.domain.not_json import why

BLOCK_BYTES = 256 << 10
BLOCK_ITEMS, LARGE_BLOCK_BYTES = 16, 768 << 10
"""A block of fewer items may be larger: what is done for each block is then done for more of them."""
PART_BYTES = 32 << 10
LONG_BYTES = 4 << 10
"""Lines of so many bytes are looked at one by one."""
_BLANK = re.compile(rb"^(?>(?:[ \t\r]*+\n)+)", re.MULTILINE)
_WHITE = (b"\n", b" ", b"\t", b"\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
"""How gzip begins (RFC 1952, section 2.3.1), and no text does."""

_STRUCTURE = (b'"', b"[", b"{")

_decode = msgspec.json.Decoder(list[object]).decode
_decode_spans = msgspec.json.Decoder(list[msgspec.Raw]).decode


class LineCutter:
    """Cuts a stream of JSONL into blocks.  Memory: a block and what was fed last, or one item."""

    def __init__(self, item_bytes_max: int) -> None:
        self._item_bytes_max = item_bytes_max
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._open = 0
        """Bytes of the last line, whose end is still to come."""
        self._wanted = BLOCK_BYTES
        """How large the next block should be."""
        self._begun = False
        self._lines = 0
        self.count = 0
        """Items so far."""
        self._last = b""
        self._before = 0

    @property
    def numbers(self) -> Sequence[int]:
        """Of each item of the last block, in which line of the body it stands, counted from 1."""
        if not _may_be_blank(self._last):
            return range(self._before + 1, self._lines + 1)
        numbered = enumerate(self._last.split(b"\n"), start=self._before + 1)
        return [number for number, line in numbered if line.strip(b" \t\r")]

    def feed(self, data: bytes) -> Iterator[Block]:
        """The blocks that `data` completes.  TooLarge if an item is over the limit."""
        end = data.rfind(b"\n") + 1
        self._size += len(data)
        self._open = len(data) - end if end else self._open + len(data)
        if end and self._size >= self._wanted:
            self._parts.append(memoryview(data)[:end])
            lines = self._joined()
            self._parts, self._size = [memoryview(data)[end:]], self._open
            yield from self._blocks(lines)
        else:
            self._parts.append(data)
        if self._open > self._item_bytes_max:
            yield from self._overlong()

    def finish(self) -> Iterator[Block]:
        """The rest.  A last line without a newline is a line."""
        rest = self._joined()
        self._parts, self._size, self._open = [], 0, 0
        yield from self._blocks(rest + b"\n" if rest and not rest.endswith(b"\n") else rest)

    def _overlong(self) -> Iterator[Block]:
        """The lines before one that is over the limit; TooLarge, unless it is no more once its mark is removed."""
        rest = self._joined()
        end = rest.rfind(b"\n") + 1
        self._parts, self._size = [rest[end:]], len(rest) - end
        self._open = self._size
        yield from self._blocks(rest[:end])
        if self._open > self._item_bytes_max:
            self._refuse(self._lines + 1, self._open)

    def _joined(self) -> bytes:
        """What was fed and is not in a block yet, without the mark that may stand at the very beginning.

        Malformed if it begins as gzip does: it would be items, none of which is JSON.
        """
        buffer = b"".join(self._parts)
        if self._begun:
            return buffer
        self._begun = True
        refuse_gzip(buffer)
        return buffer.removeprefix(_BYTE_ORDER_MARK)

    def _blocks(self, lines: bytes) -> Iterator[Block]:
        if len(lines) > self._item_bytes_max:
            for number, text in enumerate(lines.split(b"\n"), start=self._lines + 1):
                if len(text) > self._item_bytes_max:
                    self._refuse(number, len(text))
        if not _may_be_blank(lines):
            yield from self._block(lines, lines)
            return
        for part in parts_of(lines, PART_BYTES):
            yield from self._block(part, _BLANK.sub(b"", part) if _may_be_blank(part) else part)

    def _block(self, sent: bytes, lines: bytes) -> Iterator[Block]:
        """A block of these lines, which are those that were sent without the blank ones."""
        self._last, self._before = sent, self._lines
        count = number_of_lines(lines)
        self._lines += count if lines is sent else sent.count(b"\n")
        if count:
            yield Block(self.count, count, lines)
            self.count += count
            self._wanted = min(max(BLOCK_BYTES, BLOCK_ITEMS * len(lines) // count), LARGE_BLOCK_BYTES)

    def _refuse(self, line: int, size: int) -> None:
        raise TooLarge(
            f"Line {line} has {size} bytes or more; an item may have {self._item_bytes_max}."
            " Upload large inputs with POST /v1/files and name them by their ids."
        )


def refuse_gzip(begin: bytes) -> None:
    """Malformed if a body that should be text begins as gzip does."""
    if begin.startswith(_GZIP):
        raise Malformed("The body is gzip, which has to be said: Content-Encoding: gzip.")


def parts_of(lines: bytes, part_bytes: int) -> Iterator[bytes]:
    """The same in parts of whole lines, of about so many bytes, where each line may have to be looked at."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + part_bytes, len(lines) - 1)) + 1
        yield lines[start:end]
        start = end


def _may_be_blank(lines: bytes) -> bool:
    """Whether any line begins with white space, as a blank one would."""
    start = 0
    while not lines.startswith(_WHITE, start):
        end = lines.find(b"\n", start) + 1
        if end in (0, len(lines)):
            return False
        if end - start < LONG_BYTES:  # so are others, likely: all of them are looked at together
            return any(white in lines and holds(lines, b"\n" + white, rare=b"\n") for white in _WHITE)
        start = end
    return True


def split_array(array: bytes | memoryview, item_bytes_max: int) -> list[Block]:
    """The blocks of a JSON array's elements.  Malformed or Invalid if it is none, TooLarge if an element is."""
    try:
        spans = _decode_spans(array)
    except msgspec.ValidationError as error:
        detail = f"must be an array of inputs: {error}"
        raise Invalid(f"/items: {detail}.", [Fault(detail, pointer="/items")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"/items: not JSON: {why(error, bytes(array))}.") from None
    return list(grouped(map(bytes, spans), item_bytes_max))


def grouped(spans: Iterable[bytes], item_bytes_max: int) -> Iterator[Block]:
    """The blocks of items that each are JSON.  TooLarge if one is over the limit."""
    first = size = 0
    lines: list[bytes] = []
    for index, span in enumerate(spans):
        line = _line(span)
        check_size(index, len(line), item_bytes_max)
        lines.append(line)
        size += len(line) + 1
        if size >= BLOCK_BYTES:
            yield Block(first, len(lines), b"\n".join(lines) + b"\n")
            first, size, lines = index + 1, 0, []
    if lines:
        yield Block(first, len(lines), b"\n".join(lines) + b"\n")


def _line(span: bytes) -> bytes:
    return span if b"\n" not in span else msgspec.json.format(span, indent=-1)


def check_size(index: int, size: int, item_bytes_max: int) -> None:
    """TooLarge if an item of this size is."""
    if size > item_bytes_max:
        raise TooLarge(
            f"Item {index} has {size} bytes; an item may have {item_bytes_max}."
            " Upload large inputs with POST /v1/files and name them by their ids."
        )


@dataclass(frozen=True, slots=True)
class Lines:
    """Item lines, their number, and how much work they were: as much as looking at `effort` lines."""

    count: int
    text: bytes
    effort: int = 0


class BlockMaker:
    """Makes blocks of an array's elements, some at a time."""

    def __init__(self, item_bytes_max: int) -> None:
        self._item_bytes_max = item_bytes_max
        self._blocks: list[Block] = []
        self._parts: list[bytes] = []
        self._first = self._count = self._size = 0

    def taken(self, array: bytes) -> Lines:
        """The lines of an array of elements that come next.  DecodeError or RecursionError if it is none."""
        if len(array) <= self._item_bytes_max and not any(array.find(mark, 1) >= 0 for mark in _STRUCTURE):
            count = len(_decode(array))
            text = array[1:-1].translate(None, b" \t\r\n").replace(b",", b"\n")
            return Lines(count, text + b"\n" if count else b"")
        lines = list(map(bytes, _decode_spans(array)))
        effort = len(lines)
        if b"\n" in array:
            lines = list(map(_line, lines))
            effort *= 3
        if lines and len(max(lines, key=len)) > self._item_bytes_max:
            for offset, line in enumerate(lines):
                self.check(offset, len(line))
        return Lines(len(lines), b"\n".join([*lines, b""]), effort)

    def check(self, offset: int, size: int) -> None:
        """TooLarge if an element of this size, `offset` behind those that were added, is over the limit."""
        check_size(self._first + self._count + offset, size, self._item_bytes_max)

    def add(self, lines: Lines) -> None:
        self._parts.append(lines.text)
        self._count += lines.count
        self._size += len(lines.text)
        if self._size >= BLOCK_BYTES // 2:
            self._make()

    def finish(self) -> list[Block]:
        """All of the blocks."""
        self._make()
        return self._blocks

    def _make(self) -> None:
        if self._count:
            self._blocks.append(Block(self._first, self._count, b"".join(self._parts)))
        self._first += self._count
        self._parts, self._count, self._size = [], 0, 0
