"""The key of an item of any size.

How it works: as with a body (`cutting`), members are passed over in slices; a member that does not end within a slice
is passed over by itself, and kept if it is the key.

Invariant: it finds the key that `key_of` would, and others get the loop in between.
"""

import asyncio
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from app.domain.engine import Chunk
from app.domain.item import key_of, line_at, member_of
from app.service.passing import Passage
from app.service.slices import NotJSON
from app.service.window import Window

NAME_BYTES_MAX = 2 << 10
"""More than a `key_field` may have, each letter of which is an escape, with its quotes, colon and some space."""

SLICE_BYTES = 32 << 10
WHOLE_BYTES = 256 << 10
"""A smaller item is looked at as a whole, at once."""

Key = msgspec.Raw | None
Tell = Callable[[Key], None]


class Keys:
    """Finds the keys of items that ended their workers."""

    def __init__(self) -> None:
        self._finding: set[asyncio.Task[None]] = set()

    def find(self, chunk: Chunk, index: int | None, key_field: str | None, tell: Tell) -> None:
        """Tell the key of this item of the chunk, None if it has none: now, or of a large one in a while."""
        if index is None or key_field is None:
            tell(None)
            return
        item = line_at(chunk.lines, index - chunk.first)
        if len(item) <= WHOLE_BYTES:
            tell(key_of(item, key_field))
            return
        finding = asyncio.get_running_loop().create_task(self._find(item, key_field, tell))
        self._finding.add(finding)
        finding.add_done_callback(self._finding.discard)

    def stop(self) -> None:
        """What has not been found is not told any more."""
        for finding in self._finding:
            finding.cancel()

    async def _find(self, item: bytes, key_field: str, tell: Tell) -> None:
        tell(await key_in(item, key_field))


async def key_in(item: bytes, key_field: str, slice_bytes: int = SLICE_BYTES) -> Key:
    """The same as `key_of`, of an item that may have megabytes."""
    try:
        key = await _member(item, key_field, slice_bytes)
        if key is None or key[:1] in (b"[", b"n", b"{"):
            return None
        if key[:1] == b'"':
            decoder = getincrementaldecoder("utf-8")()
            for start in range(0, len(key), slice_bytes):
                decoder.decode(key[start : start + slice_bytes])
        else:
            msgspec.json.decode(key)
    except (NotJSON, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.Raw(key)


async def _member(item: bytes, name: str, slice_bytes: int) -> bytes | None:
    """The last member of that name; None if there is none, or the item is no object."""
    window = Window(_pieces(item, slice_bytes))
    passage = Passage(window, slice_bytes)
    if await passage.white() != b"{":
        return None
    window.at += 1
    value: bytes | None = None
    closed = begun = False
    while not closed:
        take = partial(member_of, name=name)
        found = await passage.slice(b"{", take, slice_bytes, begun=begun, likely=False)
        if found:
            value = value if found.taken is None else bytes(found.taken)
            closed = found.closed
        else:
            if await _is_named(window, passage, name):
                window.keep(len(item))
                await passage.value()
                value = window.kept()
            else:
                await passage.value()
            closed = await passage.closed(b"{")
        begun = True
        window.let_go()
    return None if await passage.white() else value


async def _is_named(window: Window, passage: Passage, name: str) -> bool:
    """Pass the name of a member, and the white space after it: whether it is this."""
    await passage.white()
    window.keep(NAME_BYTES_MAX)
    await passage.key()
    short = window.kept_bytes <= NAME_BYTES_MAX
    named = short and member_of(b"{%b0}" % window.kept(), name) is not None
    window.let_go()
    await passage.white()
    return named


async def _pieces(item: bytes, slice_bytes: int) -> AsyncIterator[bytes]:
    for start in range(0, len(item), slice_bytes):
        yield item[start : start + slice_bytes]
