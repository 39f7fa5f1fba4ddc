"""Request bodies as they come: bounded, and unpacked on the way."""

import asyncio
import zlib
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.types import Message, Receive

from app.api.headers import headers_of
from app.domain.errors import Malformed, TooLarge, WrongMediaType
from app.service.intake import refuse_gzip

_PIECE_BYTES = 256 << 10


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """The body, unpacked if it is gzip, in small pieces."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        async for data in request.stream():
            yield data
    elif encoding in ("gzip", "x-gzip"):
        async for data in _unpacked(request.stream()):
            yield data
    else:
        raise WrongMediaType("Content-Encoding may be gzip, or absent.")


async def bounded(request: Request, bytes_max: int, hint: str) -> AsyncIterator[bytes]:
    """The body in such pieces.  TooLarge, with the hint, as soon as it is known to be over the limit."""
    refusal = TooLarge(f"The body has more than {bytes_max} bytes. {hint}")
    if int(request.headers.get("content-length", 0)) > bytes_max:
        raise refusal
    size = 0
    async for data in chunks(request):
        size += len(data)
        if size > bytes_max:
            raise refusal
        yield data


async def read(request: Request, bytes_max: int, hint: str) -> bytes:
    """The whole body, which is small.  TooLarge, with the hint, if it is not."""
    return b"".join([data async for data in bounded(request, bytes_max, hint)])


async def small(request: Request, bytes_max: int) -> bytes | Request:
    """The whole body, if it came at once, unpacked, as UTF-8 and no larger than that; otherwise the unread request."""
    first = await request.receive()
    data = first.get("body", b"")
    whole = first["type"] == "http.request" and not first.get("more_body")
    if (
        whole
        and len(data) <= bytes_max
        and b"content-encoding" not in headers_of(request.scope)
        and _is_text(data)
    ):
        return bytes(data)
    return Request(request.scope, _from(first, request.receive))


def _is_text(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _from(first: Message, receive: Receive) -> Receive:
    """The messages that `first` is the first of, and `receive` gives the others."""
    ahead = [first]

    async def receive_all() -> Message:
        return ahead.pop() if ahead else await receive()

    return receive_all


async def text(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces.  Malformed if they are not UTF-8."""
    decoder = getincrementaldecoder("utf-8")()
    before = 0
    begun = b""  # a character, the rest of which is in the next piece
    try:
        async for data in pieces:
            if not before:
                refuse_gzip(data)
            if begun or not data.isascii():
                decoder.decode(data)
                begun = decoder.getstate()[0]
            before += len(data)
            yield data
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        at = before - len(begun) + error.start
        raise Malformed(f"The body is not UTF-8: {error.reason} at byte {at}.") from None


async def _unpacked(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        async for packed in stream:
            rest = packed
            while rest:
                if unpacker.eof:  # gzip files may be concatenated (RFC 1952)
                    unpacker = zlib.decompressobj(wbits=31)
                yield unpacker.decompress(rest, _PIECE_BYTES)
                rest = unpacker.unconsumed_tail or unpacker.unused_data
                if rest:  # a little that was packed may be very much
                    await asyncio.sleep(0)
    except zlib.error as error:
        raise Malformed(f"The body says it is gzip, but it is not: {error}.") from None
    if not unpacker.eof:
        raise Malformed("The gzip body ends before it is complete.")
