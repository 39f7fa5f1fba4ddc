"""A large JSON array, split a slice at a time, so that others have the loop in between.

How it works: a slice from an element's start up to a comma is cut rightly if, in brackets, it is JSON: were the comma
inside an element, a bracket or a string would be open.  So commas near the wanted size are tried, likely ones first.

Invariant: if all slices are JSON, so is the array, and it has their elements.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from app.domain.item import Block
from app.service.intake import grouped

SLICE_BYTES = 128 << 10
_ITEMS = re.compile(rb'"items"[ \t\r\n]*:[ \t\r\n]*\[')
_EDGE_BYTES = 64 << 10
"""The brackets around the items are looked for so near to the body's ends."""
TRIES_MAX = 32
_ENDS = {b"{": b"},", b"[": b"],", b'"': b'",'}
"""What stands between two elements like the one that starts so."""
_STRUCTURED = re.compile(rb'["\[{ \t\r\n]')

_decode = msgspec.json.Decoder(list[object]).decode
_decode_spans = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Outline:
    """A body with something else in its items' place, and where these are: between the brackets of an array."""

    text: bytes
    start: int
    stop: int


def outline_of(body: bytes) -> Outline | None:
    """The outline of a JSON object; None if it is not found, or not one."""
    found = _ITEMS.search(body, 0, _EDGE_BYTES)
    if found is None:
        return None
    mark = b'["%b"]' % uuid4().hex.encode()  # which stands nowhere else
    end = len(body)
    for _ in range(TRIES_MAX):
        stop = body.rfind(b"]", max(found.end(), len(body) - _EDGE_BYTES), end)
        if stop < 0:
            return None
        text = body[: found.end() - 1] + mark + body[stop + 1 :]
        try:
            if bytes(_decode_members(text).get("items", b"")) == mark:
                return Outline(text, found.end(), stop)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        end = stop  # that bracket belongs to what comes after the items
    return None


class NotSliced(Exception):
    """The text is not JSON, or of a kind that is only understood as a whole."""


def sliced(
    text: bytes, start: int, stop: int, item_bytes_max: int, slice_bytes: int = SLICE_BYTES
) -> Iterator[list[Block]]:
    """The blocks of the elements in `text[start:stop]`, which is what stands between an array's brackets.

    NotSliced where it cannot go on; TooLarge if an element is over the limit.
    """
    first = 0
    while start <= stop:
        end, blocks = _next(text, start, stop, first, item_bytes_max, slice_bytes)
        yield blocks
        first = blocks[-1].stop
        start = end + 1


def _next(
    text: bytes, start: int, stop: int, first: int, item_bytes_max: int, size: int
) -> tuple[int, list[Block]]:
    """Where the next slice ends, and its blocks."""
    between = _ENDS.get(text[start : start + 64].lstrip()[:1], b",")
    while start + size < stop:
        end = start + size
        for _ in range(TRIES_MAX):
            place = text.rfind(between, start, end)
            if place < 0:
                break
            comma = place + len(between) - 1
            if blocks := _blocks(text[start:comma], first, item_bytes_max):
                return comma, blocks
            end = place
        size *= 4
    if blocks := _blocks(text[start:stop], first, item_bytes_max):
        return stop, blocks
    raise NotSliced


def _blocks(part: bytes, first: int, item_bytes_max: int) -> list[Block]:
    """The blocks of a run of elements; none if it is not one."""
    array = b"[%b]" % part
    try:
        if len(part) <= item_bytes_max and not _STRUCTURED.search(part):
            return [Block(first, len(_decode(array)), part.replace(b",", b"\n") + b"\n")] if part else []
        return list(grouped(map(bytes, _decode_spans(array)), item_bytes_max, first))
    except (msgspec.DecodeError, RecursionError):
        return []
