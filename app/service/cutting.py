"""From a JSON body, as it arrives, to its members and the blocks of its items, wherever these stand in it.

Invariant: items, members and refusals are those of the body as a whole, wherever the network cut it.  Nothing
here holds the loop for longer than a slice takes, whatever is sent.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from app.domain.errors import Fault, Invalid, Malformed, shown
from app.domain.item import Block
from app.domain.not_json import why
from app.service.intake import BlockMaker, Lines, split_array
from app.service.passing import SLICE_BYTES, Passage
from app.service.slices import NotJSON
from app.service.window import Window

WHOLE_BYTES = 16 << 10
"""A smaller body is split as a whole, and so is what stands around larger items."""
MEMBERS_MAX = 50
MEMBER_BYTES_MAX = 16 << 10
"""Of a member that no limit of its own was given."""
_ELEMENTS_AT_ONCE = 4_000

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Members:
    """An object's members besides its items, undecoded; and the items, if there are any."""

    values: Mapping[str, bytes]
    items: bytes | list[Block] | None
    """Blocks, or what stands for them as it was sent."""

    def blocks(self, item_bytes_max: int) -> list[Block]:
        """The blocks of the items, none if there are none.  Invalid if these are no array, TooLarge if one is."""
        if self.items is None or isinstance(self.items, list):
            return self.items or []
        return split_array(self.items, item_bytes_max)


class _Name(str):
    """The name of a member; a type of its own has the decoder show each to its hook."""


async def elements(
    pieces: AsyncIterator[bytes],
    item_bytes_max: int,
    slice_bytes: int = SLICE_BYTES,
    whole_bytes: int = WHOLE_BYTES,
) -> list[Block]:
    """The blocks of an array.  Malformed or Invalid if it is none, TooLarge if an element is."""
    window = Window(pieces)
    passage = Passage(window, slice_bytes)
    if await window.fill(whole_bytes + 1) <= whole_bytes or await passage.white() != b"[":
        return split_array(window.head(whole_bytes), item_bytes_max)
    try:
        blocks = await _array(window, passage, item_bytes_max, whole_bytes)
        await _end(window, passage)
    except NotJSON as error:
        raise Malformed(f"/items: not JSON: {error.told}.") from None
    return blocks


async def _array(window: Window, passage: Passage, item_bytes_max: int, size: int) -> list[Block]:
    """The blocks of the array that stands next, and was passed."""
    maker = BlockMaker(item_bytes_max)
    window.at += 1
    closed = begun = False
    while not closed:
        found = await passage.slice(b"[", maker.taken, size, begun=begun, likely=True)
        if found:
            maker.add(found.taken)
            size = _wanted(size, found.length, found.taken.effort)
            closed = found.closed
        else:
            maker.add(await _large_element(window, passage, maker, item_bytes_max))
            closed = await passage.closed(b"[")
        window.let_go()
        begun = True
    return maker.finish()


def _wanted(size: int, length: int, effort: int) -> int:
    """How large the next slice is to be, after one that was to be of this size, and had this length."""
    fitting = length * _ELEMENTS_AT_ONCE // effort if effort else SLICE_BYTES
    return min(max(fitting, size // 4), 4 * size, SLICE_BYTES)


async def _large_element(window: Window, passage: Passage, maker: BlockMaker, item_bytes_max: int) -> Lines:
    await passage.white()
    window.keep(item_bytes_max)
    parts = await passage.compact()
    compact = window.kept_lines
    maker.check(0, sum(map(len, parts)) if compact else window.kept_bytes)
    return Lines(1, b"".join([*parts, b"\n"]) if compact else window.kept(b"\n"))


async def _end(window: Window, passage: Passage) -> None:
    if await passage.white():
        raise NotJSON("JSON is malformed: trailing characters", window.place + 1)


class ObjectCutter:
    """Takes an object apart, the `items` of which are an array.

    `bytes_max`: of each member that may be larger than MEMBER_BYTES_MAX; one that is larger is refused undecoded.
    """

    def __init__(
        self,
        item_bytes_max: int,
        bytes_max: Mapping[str, int],
        slice_bytes: int = SLICE_BYTES,
        whole_bytes: int = WHOLE_BYTES,
    ) -> None:
        self._item_bytes_max = item_bytes_max
        self._bytes_max = bytes_max
        self._slice_bytes = slice_bytes
        self._whole_bytes = whole_bytes
        self._names: set[str] = set()
        self._values: dict[str, bytes] = {}
        self._items: bytes | list[Block] | None = None
        self._too_large: list[Fault] = []
        self._decode = msgspec.json.Decoder(dict[_Name, msgspec.Raw], dec_hook=self._once).decode

    async def cut(self, pieces: AsyncIterator[bytes]) -> Members:
        """What the object has.  Malformed if it is none, Invalid if a name is there twice, or a member is too large."""
        window = Window(pieces)
        large = await window.fill(self._whole_bytes + 1) > self._whole_bytes
        text = window.head(self._whole_bytes)
        if not large:
            return self.cut_whole(text)
        with _refusals(text):
            await self._object(window, Passage(window, self._slice_bytes))
        return self._members()

    def cut_whole(self, text: bytes) -> Members:
        """The same of a text that is at hand, and small."""
        with _refusals(text):
            self._take(text)
        return self._members()

    def _members(self) -> Members:
        if self._too_large:
            raise Invalid(f"{self._too_large[0].pointer}: {self._too_large[0].detail}.", self._too_large)
        return Members(self._values, self._items)

    async def _object(self, window: Window, passage: Passage) -> None:
        if await passage.white() != b"{":
            self._take(_sample(window.head(1)))  # which is refused as the whole would be
            raise NotJSON("JSON is malformed: invalid character", window.place)
        window.at += 1
        closed = begun = False
        while not closed:
            found = await passage.slice(
                b"{", self._take, self._whole_bytes, begun=begun, likely=False, most=self._whole_bytes
            )
            closed = found.closed if found else await self._large_member(window, passage)
            begun = True
            window.let_go()
        await _end(window, passage)

    def _take(self, text: bytes) -> None:
        """Take members that are at hand, an object of them.  DecodeError or RecursionError if it is none."""
        for name, raw in self._decode(text).items():
            if name == "items":
                self._items = bytes(raw)
            else:
                self._values[str(name)] = bytes(raw)

    def _once(self, _: type, name: str) -> _Name:
        if name in self._names:
            detail = "is there twice; say which one you mean"
            raise Invalid(f"/{shown(name)}: {detail}.", [Fault(detail, pointer=f"/{shown(name)}")])
        self._names.add(name)
        if len(self._names) > MEMBERS_MAX:
            detail = f"has more than {MEMBERS_MAX} members"
            raise Invalid(f"The body {detail}.", [Fault(detail, pointer="")])
        return _Name(name)

    async def _large_member(self, window: Window, passage: Passage) -> bool:
        """Take a member that does not end soon; whether it was the last."""
        name = await self._name(window, passage)
        if await passage.white() == b"[" and name == "items":
            self._items = await _array(window, passage, self._item_bytes_max, self._whole_bytes)
            return await passage.closed(b"{")
        bytes_max = self._bytes_max.get(name, MEMBER_BYTES_MAX)
        window.keep(bytes_max)
        first = await passage.value()
        if name == "items":
            self._items = window.kept() if window.kept_bytes <= bytes_max else _sample(first)
        elif window.kept_bytes > bytes_max:
            detail = f"more than {bytes_max} bytes"
            self._too_large.append(Fault(detail, pointer=f"/{shown(name)}"))
        else:
            self._values[name] = window.kept()
        window.let_go()
        return await passage.closed(b"{")

    async def _name(self, window: Window, passage: Passage) -> str:
        await passage.white()
        window.keep(MEMBER_BYTES_MAX)
        await passage.key()
        if window.kept_bytes > MEMBER_BYTES_MAX:
            detail = f"has a member whose name has more than {MEMBER_BYTES_MAX} bytes"
            raise Invalid(f"The body {detail}.", [Fault(detail, pointer="")])
        (name,) = self._decode(b"{%b0}" % window.kept())
        window.let_go()
        return str(name)


def members_of(text: bytes, item_bytes_max: int, bytes_max: Mapping[str, int]) -> Members:
    """What an `ObjectCutter` finds in a text that is at hand, and small."""
    try:
        found = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = {}
    if not found or len(found) > MEMBERS_MAX or _may_repeat(text, found):
        return ObjectCutter(item_bytes_max, bytes_max).cut_whole(text)
    values = {name: bytes(raw) for name, raw in found.items()}
    return Members(values, values.pop("items", None))


def _may_repeat(text: bytes, names: Collection[str]) -> bool:
    """Whether one of these may name several members, of which a decoder shows only the last.

    Each member has a colon: if there are no more colons than names, there are no more members either.
    """
    if text.count(b":") <= len(names):
        return False
    return b"\\" in text or any(text.count(b'"%b"' % name.encode()) > 1 for name in names)


@contextmanager
def _refusals(text: bytes) -> Iterator[None]:
    """Malformed for an object that is not JSON; `text` is what it begins with."""
    try:
        yield
    except msgspec.ValidationError:
        raise Malformed('The body must be an object: {"task": "…", "items": […]}.') from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(f"The body is not JSON: {why(error, text)}.") from None
    except NotJSON as error:
        raise Malformed(f"The body is not JSON: {error.told}.") from None


def _sample(text: bytes) -> bytes:
    """What is as little an array, or an object, as the value that starts so."""
    samples = {b"{": b"{}", b"[": b"[]", b'"': b'""', b"t": b"true", b"f": b"false", b"n": b"null"}
    first = text[:1]
    return samples.get(first, b"0" if first in b"-0123456789" else first)
