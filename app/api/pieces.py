"""Answers that may be large, sent a piece at a time, so that others have the loop in between.

Invariant: no piece is larger than `PIECE_BYTES`; where a client is slow, no more of them wait than the server lets.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec
from fastapi import Response

from app.api.streaming import PIECE_BYTES, Piece, Receive, Scope, Send, divided

JSON = "application/json"


class Spread:
    """A value of JSON in parts of any size, which are made when they are asked for, once."""

    def __init__(self, parts: Iterable[Piece], size_bytes: int) -> None:
        self._parts = parts
        self._size_bytes = size_bytes

    @classmethod
    def array(cls, elements: Iterable[bytes]) -> "Spread":
        """Of elements that are JSON."""
        parts = [part for element in elements for part in (b",", element)]
        return cls.of([b"[", *parts[1:], b"]"])

    @classmethod
    def of(cls, parts: Sequence[Piece]) -> "Spread":
        return cls(parts, sum(map(len, parts)))

    @classmethod
    def lines(cls, lines: bytes) -> "Spread":
        """An array of result lines, the same bytes."""
        end = max(0, len(lines) - 1)  # the last newline separates nothing
        starts = range(0, end, PIECE_BYTES)
        elements = (lines[start : min(start + PIECE_BYTES, end)].replace(b"\n", b",") for start in starts)
        return cls(chain((b"[",), elements, (b"]",)), end + 2)

    def __len__(self) -> int:
        """In bytes."""
        return self._size_bytes

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._parts)


def json_answer(
    document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer that is this object; what of it may be large is a `Spread`."""
    parts: list[Spread] = []
    opening = b"{"
    for name, value in document.items():
        parts.append(Spread.of([opening, msgspec.json.encode(name), b":"]))
        parts.append(value if isinstance(value, Spread) else Spread.of([msgspec.json.encode(value)]))
        opening = b","
    size, all_parts = sum(map(len, parts)) + 1, chain(chain.from_iterable(parts), (b"}",))
    if size <= PIECE_BYTES:
        return Response(b"".join(all_parts), status, headers, JSON)
    return _Large(_filled(all_parts), size, status, headers)


class _Large(Response):
    """An answer of known size whose pieces are made when their turn comes."""

    def __init__(
        self, pieces: Iterable[Piece], size_bytes: int, status: int, headers: Mapping[str, str] | None
    ) -> None:
        super().__init__(None, status, {**(headers or {}), "Content-Length": str(size_bytes)}, JSON)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _filled(parts: Iterable[Piece]) -> Iterator[Piece]:
    """The same bytes in pieces, small parts put together."""
    held: list[Piece] = []
    size = 0
    for part in parts:
        if size + len(part) > PIECE_BYTES:
            yield from held and [b"".join(held)]
            held, size = [], 0
        if len(part) > PIECE_BYTES:
            yield from divided(part)
        else:
            held.append(part)
            size += len(part)
    yield b"".join(held)
