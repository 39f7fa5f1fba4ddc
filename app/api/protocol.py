"""HTTP/1.1 as uvicorn reads it, with a limit on what comes before a body and after its answer, and our own refusals.

Invariant: what cannot be read as HTTP is answered with a problem too, and of no head is more kept than
`HEAD_BYTES_MAX` and one portion.
Invariant: of a body that was answered before its end no more is read than `REST_BYTES_MAX`, for no longer than
`REST_SECONDS_MAX`; then the connection is closed.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from app.api.cycle import Cycle
from app.api.portions import Portions
from app.api.problems import problem
from app.api.streaming import CUT_OFF

HEAD_BYTES_MAX = 64 << 10
"""Request line and headers together."""
LINGER_SECONDS = 1.0
REST_BYTES_MAX = 64 << 20
"""Twice the largest JSON body by default: who sends all of it before it listens is to hear what was wrong."""
REST_SECONDS_MAX = 30.0
_SEPARATORS_BYTES = len(": \r\n")


_NOT_HTTP = (
    "This cannot be read as HTTP/1.1: its method is none that HTTP knows, its address is not percent-encoded,"
    " or a header or the body's framing is broken."
)


@dataclass(slots=True)
class _Rest:
    """What still comes of a body after its answer, and is dropped."""

    deadline: asyncio.TimerHandle
    read_bytes: int = 0


class _HeadTooLarge(Exception):
    pass


class Protocol(Portions):
    """One connection."""

    _heads = 0
    """How many have begun."""
    _in_head = False
    """Whether one is being read."""
    _head_bytes = 0
    """How much of it came before what is parsed now."""
    _portion_bytes = 0
    """How much is parsed now."""
    _head_too_large = False
    _answering: Cycle | None = None
    """What is being answered, or was last; `cycle` is of the request that is being read, which may be a later one."""
    _refused = False
    _refusal: tuple[str, str] | None = None
    """Its code and detail, while it waits for the answers to the requests before."""
    _in_body = False
    """Whether one is being read."""
    _rest: _Rest | None = None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._rest is not None:
            self._rest.read_bytes += len(data)
            if self._rest.read_bytes > REST_BYTES_MAX:
                self.transport.close()
                return
        super().data_received(data)

    def parse(self, portion: bytes) -> None:
        if self._refused:
            return
        in_head, heads = self._in_head, self._heads
        self._portion_bytes = len(portion)
        super().parse(portion)
        if in_head and self._in_head and heads == self._heads:  # all of it is this head's, which goes on
            self._head_bytes += len(portion)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse_head()

    def on_body(self, body: bytes) -> None:
        """What is read at once is passed on as it is; uvicorn would copy it twice.

        A turn may have ten thousand chunks, if there is a line in each: nothing is done twice for any.
        """
        self.body_left -= len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body = body  # type: ignore[assignment]  # all that is done with it is to make `bytes` of it
            cycle.message_event.set()
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body) + body
        else:
            cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heads += 1
        self._in_head, self._head_bytes = True, 0
        self.scope["extensions"] = {CUT_OFF: self._cut_off}  # type: ignore[dict-item]  # ASGI lets them be anything

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, after the body: nobody here reads it
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Have the request answered, once those before it on this connection are.

        Of uvicorn's own this leaves out what we do not use, and makes the cycle ours.
        """
        if self._head_bytes + self._portion_bytes > HEAD_BYTES_MAX:
            self._check_head()
        self._in_head, self._in_body = False, True
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope, version = self.scope, self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"], scope["query_string"] = url.path, url.query or b""
        before = self.cycle
        headers = dict(self.headers)
        self.body_left = int(headers.get(b"content-length", 0))
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=headers.get(b"expect", b"").lower() == b"100-continue",
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _check_head(self) -> None:
        size = len(self.url) + sum(
            [len(name) + len(value) + _SEPARATORS_BYTES for name, value in self.headers]
        )
        if size > HEAD_BYTES_MAX:
            self._head_too_large = True
            raise _HeadTooLarge  # the parser stops, and asks for `send_400_response`

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and self._is_idle:
            self._end(*self._refusal)
            return
        cycle = self.cycle
        if not self.transport.is_closing() and cycle.more_body and cycle.response_complete:
            self._rest = _Rest(self.loop.call_later(REST_SECONDS_MAX, self.transport.close))

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        self._forget_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_rest()
        self._disconnect()
        super().connection_lost(exc)
        self._let_go()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn always says the same
        """Answer what the parser, or one of the above, has refused."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._refuse("malformed", _NOT_HTTP)

    def _cut_off(self) -> None:
        """End the connection once what was written is sent; the client sees that there is no end to the answer."""
        self._disconnect()
        self.transport.close()

    def _start_asgi_task(self, cycle: Cycle, app: ASGI3Application) -> None:  # type: ignore[override]  # all are ours
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _disconnect(self) -> bool:
        """Tell who answers that nobody listens any more; whether an answer is cut off thereby."""
        cycle = self._answering
        if cycle is None or cycle.response_complete:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return cycle.response_started

    def _let_go(self) -> None:
        """Know nothing that knows this: so a connection goes without being looked for as garbage (`app.garbage`)."""
        self.pipeline.clear()
        self.cycle = self.scope = self._answering = None  # type: ignore[assignment]  # uvicorn has it end with them

    def _forget_rest(self) -> None:
        if self._rest is not None:
            self._rest.deadline.cancel()
            self._rest = None

    def _refuse_head(self) -> None:
        detail = (
            f"The address and the headers may have {HEAD_BYTES_MAX} bytes together; send more in the body."
        )
        self._refuse("head-too-large", detail)

    def _refuse(self, code: str, detail: str) -> None:
        """The last answer on this connection, given once those to the requests before are (RFC 9112, 9.3.2).

        If what is refused is the body of a request that is being answered, that answer is cut off.
        """
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self._in_body and self.cycle is self._answering:
            if self._disconnect():
                self.transport.close()
            elif self.cycle.response_complete:
                self._linger()
            else:
                self._end(code, detail)
            return
        if self._in_body:
            self.pipeline.popleft()  # it came last, and is not begun
        if self._is_idle:
            self._end(code, detail)
        else:
            self._refusal = code, detail
            self.flow.pause_reading()

    @property
    def _is_idle(self) -> bool:
        """Whether every request was answered."""
        return self._answering is None or self._answering.response_complete

    def _end(self, code: str, detail: str) -> None:
        """Write the last answer."""
        answer = problem(code, detail)
        status = HTTPStatus(answer.status_code)
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
        lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self._linger()

    def _linger(self) -> None:
        """Close the connection, but read and drop what still comes in for a moment.

        Closing at once would have the client's system throw the answer away with it (RFC 9112, 9.6).
        """
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
