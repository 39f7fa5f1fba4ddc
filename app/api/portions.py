"""What a connection has read, parsed in portions, so that no read holds the event loop, however small its parts are.

A read of 256 KiB may hold ten thousand requests, or forty thousand chunks of a body.

Invariant: while a request waits for the answer to an earlier one on its connection, nothing more of that connection is
parsed or read; so at most `PORTION_BYTES` of requests wait.
"""

import asyncio

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PORTION_BYTES = 4 << 10
"""Two hundred requests at most; their answers take longer than to parse them."""
TURN_BYTES = 64 << 10
"""What is parsed in one turn of the loop, unless it is a body that is told to be longer."""


class _Flow(FlowControl):
    """Reading is not resumed while something that was read is not parsed."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Portions(HttpToolsProtocol):
    """A connection that parses in portions."""

    flow: _Flow
    body_left = 0
    """How much is still to come of a body whose length was told: all of that is one portion."""
    _unparsed = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.flow = _Flow(transport)

    def data_received(self, data: bytes) -> None:
        if len(data) <= max(PORTION_BYTES, self.body_left):
            self.parse(data)
        else:
            self._parse_some(data)

    def parse(self, portion: bytes) -> None:
        super().data_received(portion)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self._go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        super().connection_lost(exc)

    def _parse_some(self, data: bytes) -> None:
        """Parse what may be parsed in one turn of the loop, and keep the rest."""
        start = 0
        while start < min(len(data), TURN_BYTES) and not self.pipeline:
            stop = start + max(PORTION_BYTES, self.body_left)
            self.parse(data[start:stop])
            start = stop
        self._unparsed = data[start:]
        self.flow.held = bool(self._unparsed)
        if self.flow.held:
            self.flow.pause_reading()
            if not self.pipeline:
                self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Parse more; read on once all is parsed and nobody is behind."""
        if data := self._unparsed:
            self._parse_some(data)
            is_behind = self.cycle is not None and len(self.cycle.body) > HIGH_WATER_LIMIT
            if not self.pipeline and not is_behind:
                self.flow.resume_reading()
