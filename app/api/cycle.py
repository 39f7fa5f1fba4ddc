"""A request and its answer, as uvicorn has them, except that an answer that is complete is written at once.

uvicorn writes the head first, and takes each header apart for that: a tenth of what the loop does for a job of one
item.

Invariant: no header is sent that would end its line.
"""

import re
from typing import Any

from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What is in no header (RFC 9110, section 5.5)."""


class Cycle(RequestResponseCycle):
    """One of them."""

    _start: HTTPResponseStartEvent | None = None
    """The head of an answer of known length, which goes out with what follows."""

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            if b"content-length" in dict(message["headers"]):
                self._start = message
                return
        elif (start := self._start) is not None:
            self._start = None
            if self._answered(start, message):
                return
            await super().send(start)
        await super().send(message)

    def _answered(self, start: HTTPResponseStartEvent, message: Any) -> bool:
        """Write these, if they are the whole of an answer after which all goes on; whether they are."""
        body = message.get("body", b"")
        lines = list(map(b": ".join, (*self.default_headers, *start["headers"])))
        if (
            message.get("more_body")
            or self.scope["method"] == "HEAD"
            or b"content-length: %d" % len(body) not in lines
            or b"connection: close" in lines
            or _CONTROL.search(b"".join(lines))
            or not self.keep_alive
            or self.disconnected
            or self.flow.write_paused
        ):
            return False
        head = b"%b%b\r\n\r\n" % (STATUS_LINE[start["status"]], b"\r\n".join(lines))
        self.transport.writelines((head, body))
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True
