"""Whether a text of any size is JSON.

Invariant: others get the loop in between.
"""

from codecs import getincrementaldecoder
from collections.abc import AsyncIterator

import msgspec

from app.service.passing import SLICE_BYTES, Passage
from app.service.slices import NotJSON
from app.service.window import Window

DECODED_BYTES_MAX = 16 << 10


async def is_json(text: bytes) -> bool:
    """Whether it is one value of JSON.

    What is small is so only if a decoder takes it, which refuses numbers beyond any and half a character, too.
    """
    try:
        if len(text) <= DECODED_BYTES_MAX:
            msgspec.json.decode(text)
            return True
        passage = Passage(Window(_pieces(text)))
        await passage.value()
        return await passage.white() == b""
    except (NotJSON, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


async def _pieces(text: bytes) -> AsyncIterator[bytes]:
    """The text, as far as it is UTF-8; one that ends within a character does not end as JSON does."""
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(text), SLICE_BYTES):
        piece = text[start : start + SLICE_BYTES]
        decoder.decode(piece)
        yield piece
