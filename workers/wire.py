"""What travels between the pool and a worker: frames over a private stream socket.

A frame is a header, whose layout is `HEADER`, little-endian, a short head and a body, which are bytes that neither
side's transport looks into.  They are never put together: a body may be large.  Nothing is ever pickled.  The item in
flight does not travel: it is marked in shared memory (`Marks`).

Invariant: a reader never blocks on half a frame, and never believes a length above its limit.
"""

import ctypes
import mmap
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from io import BytesIO

import msgspec

HEADER = struct.Struct("<IIBxxxIIII")
"""Head length, body length, kind, 3 bytes of padding, chunk id, first index, item count, failed count."""

SOCKET_BUFFER_BYTES = 1 << 20
PARTS_MAX = 16
"""Of a frame that is coming; once there are more they are put together."""
FRAME_BYTES_MAX = 1 << 30
WIRE_ID = 0xFFFFFFFF
"""Of a chunk's id, what travels."""


LEAVING = b"leaving"
"""The body of a worker's last `DONE`: it has done enough, and wants to be replaced."""


class Kind(IntEnum):
    # To the worker
    CHUNK = 1
    DESCRIBE = 3
    CANCEL = 4
    # To the pool
    PART = 16
    UNLUCKY = 17
    DONE = 18
    TASKS = 19
    LOG = 20
    PROGRESS = 21


_KINDS = {int(kind): kind for kind in Kind}


class Frame(msgspec.Struct, frozen=True):
    kind: Kind
    body: bytes | bytearray = b""
    chunk_id: int = 0
    first: int = 0
    count: int = 0
    failed: int = 0
    head: bytes = b""
    more: tuple[bytes, ...] = ()
    """The rest of a body that is sent; one that is received is whole."""

    @property
    def took_seconds(self) -> float:
        """Of a worker's last word of a chunk: how long that took it."""
        return self.first + self.count / 1e6

    def buffers(self) -> list[bytes | bytearray]:
        """What to send, in this order."""
        length = len(self.body) + (sum(map(len, self.more)) if self.more else 0)
        header = HEADER.pack(
            len(self.head),
            length,
            self.kind,
            self.chunk_id & WIRE_ID,
            self.first,
            self.count,
            self.failed,
        )
        if self.more:
            return [header + self.head, *(part for part in (self.body, *self.more) if part)]
        return [header + self.head, self.body] if self.body else [header + self.head]


class ProtocolError(Exception):
    """The other side sent what is not a frame."""


def ended(chunk_id: int, seconds: float, *, leaving: bool = False) -> Frame:
    """A worker's last word of a chunk, which took it so long."""
    whole, rest = divmod(round(seconds * 1e6), 1_000_000)
    return Frame(Kind.DONE, LEAVING if leaving else b"", chunk_id, whole, rest)


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, body_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._max = body_bytes_max
        self._parts: list[bytes] = []
        """Of the frame that is coming, the first of which has its header, once more is here than that."""
        self._body: BytesIO | None = None
        """Of a long frame, as far as it was put together; then the first part is header and head alone."""
        self._have = 0
        self._need = HEADER.size

    @property
    def pending(self) -> bool:
        """Whether part of a frame is here, and its rest is still to come."""
        return self._have > 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes.  ProtocolError if it is not one."""
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:  # the usual case inside a large frame
            if len(self._parts) > PARTS_MAX and self._need > HEADER.size:
                self._put_together()
            return
        parts, self._parts = self._parts, []
        if self._need > HEADER.size and _has_head(parts[0]):
            buffer, position = data, len(data) - (self._have - self._need)
            body, self._body = self._body, None
            yield _frame(parts[0], [*parts[1:-1], memoryview(data)[:position]], body)
        else:
            buffer, position = b"".join(parts), 0  # of one that is no copy
        self._need = HEADER.size
        while (left := len(buffer) - position) >= HEADER.size:
            header = self._header(buffer, position)
            length = HEADER.size + header[0] + header[1]
            if length > left:
                self._need = length
                break
            yield _frame_at(buffer, position, header)
            position += length
        rest = buffer[position:]
        self._parts, self._have = ([rest], len(rest)) if rest else ([], 0)

    def _put_together(self) -> None:
        """Do so with the parts that are here: with all of a long frame at once it would take too long."""
        start: bytes
        start, *rest = self._parts
        if self._body is None:
            if not _has_head(start):
                return
            end = HEADER.size + HEADER.unpack_from(start)[0]
            self._body = BytesIO()
            start, rest = start[:end], [start[end:], *rest]
        self._body.writelines(rest)
        self._parts = [start]

    def _header(self, buffer: bytes, position: int) -> tuple[int, ...]:
        """The header of the frame that begins there.  ProtocolError if it is none."""
        header = HEADER.unpack_from(buffer, position)
        size, kind = header[0] + header[1], header[2]
        if size > self._max:
            raise ProtocolError(f"a frame of {size} bytes; at most {self._max} are expected")
        if kind not in _KINDS:
            raise ProtocolError(f"no frame is of kind {kind}")
        return header


def _has_head(start: bytes) -> bool:
    """Whether the head is there of a frame whose header is."""
    length: int = HEADER.unpack_from(start)[0]
    return len(start) >= HEADER.size + length


def _frame_at(buffer: bytes, position: int, header: tuple[int, ...]) -> Frame:
    """The frame that stands there, with this header."""
    head, body, kind, chunk_id, first, count, failed = header
    start = position + HEADER.size
    middle = start + head
    return Frame(
        _KINDS[kind], buffer[middle : middle + body], chunk_id, first, count, failed, buffer[start:middle]
    )


def _frame(start: bytes, rest: Sequence[bytes | memoryview], begun: BytesIO | None) -> Frame:
    """The frame made of these parts: header and head are in the first, and what came of a long body in `begun`."""
    length, _, kind, chunk_id, first, count, failed = HEADER.unpack_from(start)
    after = memoryview(start)[HEADER.size :]
    if begun is None:
        body = b"".join((after[length:], *rest))
    else:
        begun.writelines(rest)
        body = begun.getvalue()  # nobody else holds it, so it is not copied
    return Frame(_KINDS[kind], body, chunk_id, first, count, failed, bytes(after[:length]))


WORKERS_MAX = 1024
SLOT_BYTES = 64
MEMORY_BYTES = WORKERS_MAX * SLOT_BYTES
_WORDS = 7
NO_LIMIT = 0xFFFFFFFF
NO_ITEM = 0
BLOCK_ITEMS = 64
"""Of a light chunk, so many items share the mark of the first."""


class Marks:
    """One worker's 64 bytes of shared memory; every word has one writer.

    `mark` (worker writes): the chunk in its upper 32 bits, in the lower ones 1 + the position in the chunk of
    the item that runs, or `NO_ITEM`.  A single 8-byte store, so a death at any moment leaves it whole.
    `sending` (worker writes): 1 while results are on their way, which no time limit counts.
    `limits` (pool writes), one for each of two chunks in turn: items from this position on are not to start.
    `meant` and `why` (pool writes): the mark of an item to interrupt, and the reason.
    `heard` (worker writes): the last `meant` its main thread has come to see.
    """

    def __init__(self, memory: mmap.mmap, worker_id: int) -> None:
        start = worker_id * SLOT_BYTES
        words = [ctypes.c_uint64.from_buffer(memory, start + 8 * n) for n in range(_WORDS)]
        self.mark, self.sending = words[:2]
        self.limits = words[2:4]
        self.meant, self.why, self.heard = words[4:]

    def clear(self) -> None:
        """As a new worker should find it."""
        for word in (self.mark, self.sending, self.meant, self.why, self.heard):
            word.value = 0
        for limit in self.limits:
            limit.value = NO_LIMIT

    @staticmethod
    def read(mark: int) -> tuple[int, int | None]:
        """(chunk id, position of the item in the chunk or None)."""
        position = mark & 0xFFFFFFFF
        return mark >> 32, None if position == NO_ITEM else position - 1
