"""What travels between the pool and a worker: frames over a private stream socket.

A frame is a header and a body; its layout is `HEADER`, little-endian, and the body is bytes that neither side's
transport looks into.  Nothing is ever pickled.  The item in flight does not travel: it is marked in shared
memory (`Marks`).

Invariant: a reader never blocks on half a frame, and never believes a length above its limit.
"""

import ctypes
import mmap
import struct
from collections.abc import Iterator
from enum import IntEnum

import msgspec

HEADER = struct.Struct("<IBxxxIIII")
"""Body length, kind, 3 bytes of padding, chunk id, first index, item count, failed count."""

SOCKET_BUFFER_BYTES = 1 << 20
FRAME_BYTES_MAX = 1 << 30
WIRE_ID = 0xFFFFFFFF
"""Of a chunk's id, what travels."""


LEAVING = b"leaving"
"""The body of a worker's last `DONE`: it has done enough, and wants to be replaced."""


class Kind(IntEnum):
    # To the worker
    CHUNK = 1
    STOP = 2
    DESCRIBE = 3
    CANCEL = 4
    # To the pool
    PART = 16
    UNLUCKY = 17
    DONE = 18
    TASKS = 19
    LOG = 20
    PROGRESS = 21


class Frame(msgspec.Struct, frozen=True):
    kind: Kind
    body: bytes = b""
    chunk_id: int = 0
    first: int = 0
    count: int = 0
    failed: int = 0

    def header(self) -> bytes:
        return HEADER.pack(
            len(self.body), self.kind, self.chunk_id & WIRE_ID, self.first, self.count, self.failed
        )


class ProtocolError(Exception):
    """The other side sent what is not a frame."""


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, body_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._max = body_bytes_max
        self._parts: list[bytes] = []
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
        if (
            self._have < self._need
        ):  # the usual case inside a large frame: nothing is joined until it is whole
            return
        buffer = data if len(self._parts) == 1 else b"".join(self._parts)
        position = 0
        while True:
            if len(buffer) - position < HEADER.size:
                self._need = HEADER.size
                break
            length, kind, chunk_id, first, count, failed = HEADER.unpack_from(buffer, position)
            if length > self._max:
                raise ProtocolError(f"a frame of {length} bytes; at most {self._max} are expected")
            end = position + HEADER.size + length
            if end > len(buffer):
                self._need = HEADER.size + length
                break
            try:
                known = Kind(kind)
            except ValueError:
                raise ProtocolError(f"no frame is of kind {kind}") from None
            yield Frame(known, buffer[position + HEADER.size : end], chunk_id, first, count, failed)
            position = end
        rest = buffer[position:]
        self._parts, self._have = ([rest], len(rest)) if rest else ([], 0)


SLOT_BYTES = 64
_WORDS = 7
NO_LIMIT = 0xFFFFFFFF
NO_ITEM = 0
BLOCK_ITEMS = 32
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
