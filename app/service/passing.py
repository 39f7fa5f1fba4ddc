"""Passes over a JSON value of any size a slice at a time, so that others get the loop in between.

How it works: the elements of a container are passed over in slices.  An element that does not end within a slice is
entered, and the open containers are kept on a stack here; a slice is parsed in its innermost container alone.

Invariant: what was passed over is JSON.
"""

import asyncio
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec

from app.domain.not_json import CUT
from app.service.slices import CLOSING, NotJSON, Slice, next_slice, said
from app.service.window import Window

SLICE_BYTES = 128 << 10
NUMBER_BYTES_MAX = 1 << 20
DEPTH_MAX = 900
"""About what the decoder follows, which is used for what ends within a slice."""
_WORTH_A_PAUSE_BYTES = 1 << 10
_DEEP = "maximum recursion depth exceeded while deserializing an object"
_WHITE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[0-9.eE+-]++|[a-z]*+")
_TEXT = re.compile(
    rb'(?>(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u(?:[0-9A-Ca-cE-Fe-f][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}'
    rb"|[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2})))*)"
)
_ESCAPE_BYTES_MAX = 12

_skip = msgspec.json.Decoder(msgspec.Raw).decode

T = TypeVar("T")


class Passage:
    """Passes what stands next in a window.  NotJSON, with its place in the whole text, if it is not JSON."""

    def __init__(self, window: Window, slice_bytes: int = SLICE_BYTES) -> None:
        self._window = window
        self._slice_bytes = slice_bytes
        self._compact: list[bytes] | None = None

    async def white(self) -> bytes:
        """Pass white space; the byte after it, which is none at the text's end."""
        while await self._window.fill(1):
            if not (length := self._window.length(_WHITE, self._slice_bytes)):
                break
            self._window.at += length
            if length >= _WORTH_A_PAUSE_BYTES:
                await asyncio.sleep(0)
        return self._window.head(1)

    async def slice(
        self,
        kind: bytes,
        take: Callable[[bytes], T],
        size: int,
        *,
        begun: bool,
        likely: bool,
        most: int | None = None,
    ) -> Slice[T] | None:
        """Pass what stands next in a container of this kind, and take it; None if its first element is too large.

        So many bytes are looked at, but `most` if nothing ends among them.
        """
        await self.white()
        most = most or self._slice_bytes
        size = min(size, most)
        while True:
            await self._window.fill(size)
            text = self._window.head(size)
            final = self._window.ended and await self._window.fill(size + 1) == len(text)
            try:
                found = next_slice(text, kind, take, begun=begun, final=final, likely=likely)
            except NotJSON as error:
                at = None if error.at is None else error.at + self._window.place
                raise NotJSON(error.reason, at) from None
            await asyncio.sleep(0)
            if found or size >= most:
                break
            size = min(4 * size, most)
        if found:
            self._window.at += found.length
        return found

    async def value(self) -> bytes:
        """Pass a value; its first byte."""
        first = await self.white()
        open_: list[bytes] = []
        await self._begin(open_)
        begun = False
        while open_:
            kind = open_[-1]
            found = await self.slice(kind, _skip, self._slice_bytes, begun=begun, likely=kind == b"[")
            if found:
                self._note(kind, found)
                closed, begun = found.closed, True
            else:
                if kind == b"{":
                    await self.key()
                begun = not await self._begin(open_)
                closed = begun and await self.closed(kind)
            while closed:
                open_.pop()
                closed, begun = bool(open_) and await self.closed(open_[-1]), True
        return first

    async def compact(self) -> list[bytes]:
        """Pass a value; what it is without the white space between its parts, in pieces."""
        pieces: list[bytes] = []
        self._compact = pieces
        await self.value()
        self._compact = None
        return pieces

    async def key(self) -> None:
        """Pass the name of a member, and the colon."""
        if await self.white() != b'"':
            self._refuse(b"{")
        await self._string()
        if await self.white() != b":":
            self._refuse(b'{""')
        self._pass(1)

    async def closed(self, kind: bytes) -> bool:
        """Pass what comes after an element: whether it closes the container, and is no comma."""
        following = await self.white()
        if following not in (b",", CLOSING[kind]):
            self._refuse(b"[0" if kind == b"[" else b'{"":0')
        self._pass(1)
        return following != b","

    async def _begin(self, open_: list[bytes]) -> bool:
        """Enter what stands next, if it is a container; pass it, if not.  Whether it was entered."""
        first = await self.white()
        if first in CLOSING:
            if len(open_) >= DEPTH_MAX:
                raise NotJSON(_DEEP, None)
            open_.append(first)
            self._pass(1)
            return True
        await (self._string() if first == b'"' else self._scalar())
        return False

    async def _string(self) -> None:
        self._pass(1)
        while True:
            size = self._slice_bytes + _ESCAPE_BYTES_MAX
            await self._window.fill(size)
            length = self._window.length(_TEXT, size)
            if not length:
                break
            self._pass(length)
            await asyncio.sleep(0)
        if self._window.head(1) != b'"':
            self._refuse(b'"')
        self._pass(1)

    async def _scalar(self) -> None:
        size = 64
        while await self._window.fill(size) >= size and self._window.length(_SCALAR, size) == size:
            size *= 4
            if size > NUMBER_BYTES_MAX:
                raise NotJSON(f"a number has more than {NUMBER_BYTES_MAX} bytes", self._window.place)
        length = self._window.length(_SCALAR, size)
        self._check(b"", self._window.head(length or 1))
        self._pass(length)

    def _refuse(self, before: bytes) -> NoReturn:
        """Say what a decoder says of what comes next, after these bytes."""
        self._check(before, self._window.head(_ESCAPE_BYTES_MAX))
        raise NotJSON(CUT, None)

    def _check(self, before: bytes, text: bytes) -> None:
        """NotJSON if what follows these bytes is wrong; but it may go on."""
        try:
            _skip(before + text)
        except (msgspec.DecodeError, RecursionError) as error:
            reason, at = said(error, before + text)
            at = None if at is None else at - len(before) + self._window.place
            raise NotJSON(reason, at) from None

    def _note(self, kind: bytes, found: Slice[msgspec.Raw]) -> None:
        if self._compact is not None:
            close = CLOSING[kind]
            inner = msgspec.json.format(kind + found.part + close, indent=-1)[1:-1]
            self._compact += [inner, close if found.closed else b","]

    def _pass(self, length: int) -> None:
        if self._compact is not None:
            self._compact.append(self._window.head(length))
        self._window.at += length
