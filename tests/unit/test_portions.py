"""However much a connection sends at once, little of it is parsed at a time, and all of it is answered in order."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
import uvloop

from app.api import portions
from app.api.portions import PORTION_BYTES, TURN_BYTES
from app.api.protocol import HEAD_BYTES_MAX, Protocol
from app.api.streaming import Receive, Scope, Send

SECONDS_MAX = 60
READ_BYTES_MAX = 256 << 10
"""What a loop reads of a socket at once."""
HIGH_WATER_BYTES = 64 << 10
"""What of a body may wait for the application while more is read."""
GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
NUMBER = 20_000
BODY = bytes(range(256)) * (16 * TURN_BYTES // 256)

App = Callable[["Connection", Scope, Receive, Send], Awaitable[None]]


class Connection(Protocol):
    """It keeps count of itself."""

    most_waiting = 0
    """Requests that waited for those before them."""
    most_body = 0
    """Bytes of a body that waited for the application."""
    most_parsed = 0
    """Bytes, in one turn of the loop."""
    parsed = 0
    """In this turn of the loop."""
    overtaken = False
    """Whether something was read while something read earlier was not parsed."""

    def data_received(self, data: bytes) -> None:
        self.overtaken |= self.flow.held
        super().data_received(data)

    def parse(self, portion: bytes) -> None:
        if not self.parsed:
            self.loop.call_soon(setattr, self, "parsed", 0)
        self.parsed += len(portion)
        self.most_parsed = max(self.most_parsed, self.parsed)
        super().parse(portion)
        self.most_waiting = max(self.most_waiting, len(self.pipeline))
        self.most_body = max(self.most_body, len(self.cycle.body))


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        parts.append(bytes(message["body"]))
        if not message["more_body"]:
            break
    return b"".join(parts)


async def _answer(scope: Scope, send: Send) -> None:
    """With the path."""
    path = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(path))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": path})


def _served(request: bytes, app: App) -> tuple[bytes, Connection, list[str]]:
    """All that comes back, until the connection is closed; the connection; what the loop was told of failures."""
    failures: list[str] = []

    async def serve() -> tuple[bytes, Connection]:
        async def asked(scope: Any, receive: Any, send: Any) -> None:
            await app(connections[0], scope, receive, send)

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(str(context)))
        config = uvicorn.Config(asked, http=Connection, lifespan="off", log_config=None)
        connection = Connection(config, uvicorn.server.ServerState(), {})
        connections = [connection]
        listening = await loop.create_server(lambda: connection, "127.0.0.1", 0)
        async with listening, asyncio.timeout(SECONDS_MAX):
            reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            writer.write(request)
            answer = b""
            with suppress(ConnectionResetError):  # where the test aborts it
                answer = await reader.read()
            await asyncio.gather(*connection.tasks)
            writer.close()
        connections.clear()
        return answer, connection

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return *runner.run(serve()), failures


async def _read_and_answer(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
    await _body(receive)
    await _answer(scope, send)


def test_requests_sent_at_once_are_answered_in_order() -> None:
    """Of thousands no more wait than one portion has, also behind a body; and none is read while others wait."""
    told = b"POST /told HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    gets = [GET % number for number in range(NUMBER)]

    answer, connection, failures = _served(told + b"".join(gets) + LAST, _read_and_answer)

    paths = [part.partition(b"HTTP/1.1")[0] for part in answer.split(b"\r\n\r\n")[1:]]
    assert paths == [b"/told", *(b"/%d" % number for number in range(NUMBER)), b"/last"]
    assert 1 < connection.most_waiting <= PORTION_BYTES / len(gets[0]) + 1
    assert not connection.overtaken
    assert failures == []


@pytest.mark.parametrize("bytes_each", [1, 100, PORTION_BYTES, TURN_BYTES, len(BODY)])
def test_a_body_comes_whole_whatever_its_chunks(bytes_each: int) -> None:
    """Little of it waits for an application that takes its time; and what follows it is served."""
    chunks = [BODY[at : at + bytes_each] for at in range(0, len(BODY), bytes_each)]
    framed = b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]) + b"0\r\n\r\n"
    bodies: list[bytes] = []

    async def app(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Any:
            for _ in range(20):
                await asyncio.sleep(0)
            return await receive()

        bodies.append(await _body(received))
        await _answer(scope, send)

    answer, connection, failures = _served(CHUNKED + framed + LAST, app)

    assert answer.count(b"HTTP/1.1 200") == 2
    assert bodies == [BODY, b""]
    assert PORTION_BYTES < connection.most_parsed <= 2 * TURN_BYTES  # two callbacks may run in one turn
    assert connection.most_body <= HIGH_WATER_BYTES + 2 * READ_BYTES_MAX
    assert not connection.overtaken
    assert failures == []


def test_what_brings_nothing_for_the_application_is_parsed_too() -> None:
    """A chunk's extension is none of its data (RFC 9112, 7.1.1), however long it is."""
    answer, _, failures = _served(
        CHUNKED + b"1;%b\r\nx\r\n0\r\n\r\n" % (b"a" * 4 * READ_BYTES_MAX) + LAST, _read_and_answer
    )

    assert answer.count(b"HTTP/1.1 200") == 2
    assert failures == []


@pytest.mark.parametrize("behind", [(GET % 0) * NUMBER, CHUNKED + b"1\r\n\n\r\n" * len(BODY)])
def test_who_goes_away_is_known_to_be_gone(behind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who is answering, and what was read and not parsed is dropped."""
    monkeypatch.setattr(portions, "TURN_BYTES", PORTION_BYTES)  # so that there is some when it does
    begun: list[str] = []

    async def app(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        while not connection.flow.held:
            await receive()
        connection.transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass

    _, _, failures = _served(behind, app)

    assert len(begun) == 1
    assert failures == []


BROKEN_CHUNK = CHUNKED + b"1\r\nx\r\nzz\r\n"
LONG_HEAD = b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 2 * HEAD_BYTES_MAX)


@pytest.mark.parametrize("before", [1, 3])
@pytest.mark.parametrize(
    ("refused", "status"),
    [(b"none\r\n\r\n", 400), (BROKEN_CHUNK, 400), (LONG_HEAD, 431), (b"none\r\n\r\n" + GET % 9, 400)],
    ids=["no request", "no body", "no end", "no request, and one behind it"],
)
def test_what_is_refused_waits_for_the_answers_before_it(before: int, refused: bytes, status: int) -> None:
    """Who asked before is answered, in order and undisturbed (RFC 9112, 9.3.2); then the connection ends."""
    begun: list[str] = []

    async def app(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        for _ in range(50):
            await asyncio.sleep(0)
        assert (await receive())["type"] == "http.request"
        await _answer(scope, send)

    gets = [GET % number for number in range(before)]
    answer, _, failures = _served(b"".join(gets) + refused, app)

    paths = [b"/%d" % number for number in range(before)]
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200] * before + [status]
    assert [part.partition(b"HTTP/1.1")[0] for part in answer.split(b"\r\n\r\n")[1 : before + 1]] == paths
    assert begun == [path.decode() for path in paths]
    assert failures == []


def test_a_request_that_was_answered_is_not_answered_again_for_its_body() -> None:
    """One may be refused before its body has come, which then turns out to be broken as well."""

    async def app(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        await _answer(scope, send)
        connection.data_received(b"zz\r\n")

    answer, _, failures = _served(CHUNKED + b"1\r\nx\r\n", app)

    assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 200") == 1
    assert failures == []


def test_a_connection_that_ended_goes_by_itself() -> None:
    """Nobody looks whether only what it knows knows it (`app.garbage`), whoever ended it and however."""

    async def app(connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/left":
            connection.transport.abort()
            while (await receive())["type"] != "http.disconnect":
                pass
        await _answer(scope, send)

    gc.collect()
    gc.disable()
    try:
        left = b"GET /left HTTP/1.1\r\n\r\n" * 2
        gone = [
            weakref.ref(_served(request, app)[1])
            for request in (LAST, GET % 0 + LAST, left, b"none\r\n\r\n", GET % 0 + b"none\r\n\r\n")
        ]
        assert [ref() for ref in gone] == [None] * len(gone)
    finally:
        gc.enable()
