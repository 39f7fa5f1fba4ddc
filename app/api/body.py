"""Request bodies as they come: bounded, and unpacked on the way."""

import zlib
from collections.abc import AsyncIterator

from fastapi import Request

from app.domain.errors import Malformed, TooLarge, WrongMediaType

_PIECE_BYTES = 1 << 20


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """The body, unpacked if it is gzip, in pieces of at most about a megabyte."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        async for data in request.stream():
            yield data
    elif encoding in ("gzip", "x-gzip"):
        async for data in _unpacked(request.stream()):
            yield data
    else:
        raise WrongMediaType("Content-Encoding may be gzip, or absent.")


async def read(request: Request, bytes_max: int, hint: str) -> bytes:
    """The whole body.  TooLarge, with the hint, as soon as it is known to be over the limit."""
    refusal = TooLarge(f"The body has more than {bytes_max} bytes. {hint}")
    if int(request.headers.get("content-length", 0)) > bytes_max:
        raise refusal
    parts: list[bytes] = []
    size = 0
    async for data in chunks(request):
        size += len(data)
        if size > bytes_max:
            raise refusal
        parts.append(data)
    return b"".join(parts)


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
    except zlib.error as error:
        raise Malformed(f"The body says it is gzip, but it is not: {error}.") from None
    if not unpacker.eof:
        raise Malformed("The gzip body ends before it is complete.")
