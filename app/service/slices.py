"""What a slice of JSON holds: whole elements of an array, or members of an object, and whether that ends in it.

How it works: a slice is cut at a comma, likely places first.  In brackets it is JSON only if the comma was not inside
an element: a bracket or a string would be open.  Where no likely place is right, an expression that knows brackets and
strings finds one.

Invariant: what is told of a text does not depend on what comes after it; if all slices are JSON, so is the whole.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from app.domain.not_json import why

TRIES_MAX = 2
WHITE = b" \t\r\n"
CLOSING = {b"[": b"]", b"{": b"}"}
_LIKELY = {b"{": b"},", b"[": b"],", b'"': b'",'}
"""What stands between two elements like the one that starts so."""
_UNSURE_BYTES = 16
"""So near to the end of a text that goes on, what looks wrong may be a number or an escape that was cut."""
_PLACE = re.compile(r" \(byte (\d+)\)$")


def _elements() -> re.Pattern[bytes]:
    """As many elements as there are, each with its comma; of whatever is not nested deeper than this."""
    # `(?>(?:…)*)` is `(?:…)*+`, which before Python 3.11.5 goes on where its last, failing turn was (gh-106052).
    string = rb'"(?>(?:[^"\\]++|\\.)*)"'
    inner = rb'(?>(?:[^\[\]{}"]++|%b)*)' % string
    for _ in range(6):
        inner = rb'(?>(?:[^\[\]{}"]++|%b|[\[{]%b[\]}])*)' % (string, inner)
    return re.compile(rb'(?>(?:(?>(?:[^\[\]{}",]++|%b|[\[{]%b[\]}])*),)*)' % (string, inner), re.DOTALL)


_ELEMENTS = _elements()
_skip = msgspec.json.Decoder(msgspec.Raw).decode

T = TypeVar("T")


class NotJSON(Exception):
    """Says what is wrong, and where: at which byte of the text, or None if its end is missing."""

    def __init__(self, reason: str, at: int | None) -> None:
        super().__init__(reason, at)
        self.reason = reason
        self.at = at

    @property
    def told(self) -> str:
        """The same as the decoder's words."""
        return self.reason if self.at is None else f"{self.reason} (byte {self.at})"


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """What was made of the elements, up to where the text was used, and whether that closes the container."""

    taken: T
    part: bytes
    length: int
    closed: bool


def next_slice(
    text: bytes, kind: bytes, take: Callable[[bytes], T], *, begun: bool, final: bool, likely: bool
) -> Slice[T] | None:
    """The elements that `text` starts with, not with white space, in a container of this kind; None if none ends.

    `take` gets a run of elements in its brackets, and raises DecodeError or RecursionError if that is not JSON; what
    it raises else is raised.  `begun`: an element and a comma came before.  `final`: nothing comes after the text.
    NotJSON if it is not.
    """
    first = text[:1]
    close = CLOSING[kind]
    if begun and first == close:
        what = "array" if kind == b"[" else "object"
        raise NotJSON(f"JSON is malformed: trailing comma in {what}", 0)
    if likely and first != b",":
        between, end = _LIKELY.get(first, b","), len(text)
        for _ in range(TRIES_MAX):
            end = text.rfind(between, 0, end)
            if end < 0:
                break
            comma = end + len(between) - 1
            try:
                return Slice(take(kind + text[:comma] + close), text[:comma], comma + 1, closed=False)
            except (msgspec.DecodeError, RecursionError):
                pass
    return _certain(text, kind, take, empty=first == b",", final=final)


def _certain(
    text: bytes, kind: bytes, take: Callable[[bytes], T], *, empty: bool, final: bool
) -> Slice[T] | None:
    """The same, without guessing; `empty`: there is nothing before the first comma."""
    close = CLOSING[kind]
    found = _ELEMENTS.match(text)
    assert found is not None  # it matches nothing, if nothing else
    if found.end() and not empty:
        part = text[: found.end() - 1]
        try:
            return Slice(take(kind + part + close), part, found.end(), closed=False)
        except (msgspec.DecodeError, RecursionError):
            pass
    end = _end(text, kind, final=final)
    if end is None:
        return None
    part = text[: end - 1]
    return Slice(take(kind + part + close), part, end, closed=True)


def _end(text: bytes, kind: bytes, *, final: bool) -> int | None:
    """Where the container ends in the text; None if it does not, as far as can be seen."""
    try:
        _skip(kind + text)
    except (msgspec.DecodeError, RecursionError) as error:
        if "truncated" in str(error) and not final:
            return None
        reason, at = said(error, text)
        if at is None:
            raise NotJSON(reason, None) from None
        at -= 1
        if "trailing characters" in reason:
            return len(text[: at - 1].rstrip(WHITE))  # it counts the character that is too many
        if at >= len(text) - _UNSURE_BYTES and not final:
            return None
        raise NotJSON(reason, at) from None
    return len(text.rstrip(WHITE))


def said(error: Exception, text: bytes) -> tuple[str, int | None]:
    """What is wrong with the text, by what a decoder raised, and at which byte."""
    reason = why(error, text)
    place = _PLACE.search(reason)
    return (reason[: place.start()], int(place[1])) if place else (reason, None)
