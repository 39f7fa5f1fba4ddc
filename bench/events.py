"""A reader of server-sent events that costs so little that one process can be a thousand of them.

Only what Millpond sends is understood: an answer in chunks (RFC 9112, section 7.1), events with `id` and `data` of
one line each, `results` events whose data is one array of lines.
"""

import asyncio
from typing import cast
from zlib import crc32

_HEAD_END = b"\r\n\r\n"
_RESULTS = b'data: {"results":['


class Viewer(asyncio.Protocol):
    """One connection; `ended` is done once the stream has come to its clean end, or fails if it does not."""

    def __init__(self, request: bytes, ended: asyncio.Future[None]) -> None:
        self._request = request
        self.ended = ended
        self.lines = 0
        """The cursor: how many result lines have come."""
        self.checksum = 0
        """CRC-32 of them all, each followed by a comma."""
        self.told_end = False
        """Whether the last event said that it was the last."""
        self._raw = b""
        """What came and is not yet taken out of its chunk."""
        self._body = b""
        """The beginning of an event."""
        self._reading_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._take(self._raw + data if self._raw else data)
        except (ValueError, IndexError) as error:
            self._fail(f"not understood: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"cut off after {self.lines} lines: {error or 'closed'}")

    def _take(self, raw: bytes) -> None:
        position = 0
        if self._reading_head:
            head_end = raw.find(_HEAD_END)
            if head_end < 0:
                self._raw = raw
                return
            if not raw.startswith(b"HTTP/1.1 200 "):
                raise ValueError(repr(raw[:200]))
            self._reading_head = False
            position = head_end + len(_HEAD_END)
        while (size_end := raw.find(b"\r\n", position)) >= 0:
            size = int(raw[position:size_end], 16)
            chunk_end = size_end + 2 + size
            if len(raw) < chunk_end + 2:
                break
            if size == 0:
                self._finish()
                return
            self._events(raw[size_end + 2 : chunk_end])
            position = chunk_end + 2
        self._raw = raw[position:]

    def _events(self, data: bytes) -> None:
        body = self._body + data if self._body else data
        *whole, self._body = body.split(b"\n\n")
        for event in whole:
            start = event.find(_RESULTS)
            if start >= 0:
                self._results(event, start)
            elif event.startswith(b"event: end\n"):
                self.told_end = True

    def _results(self, event: bytes, start: int) -> None:
        cursor = int(event[event.index(b"id: ") + 4 :].split(b"\n", 1)[0])
        self.checksum = crc32(b",", crc32(event[start + len(_RESULTS) : event.rindex(b"]}")], self.checksum))
        self.lines = cursor

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.close()

    def _fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError(why))
        self._transport.close()
