"""A body that is answered before its end: its client hears the answer, and is not listened to for ever."""

import asyncio
import socket

import httpx
import pytest
import uvicorn

from app.api import protocol
from app.api.protocol import REST_BYTES_MAX, Protocol
from app.api.streaming import Receive, Scope, Send
from bench.server import Server

SECONDS_MAX = 60
PIECE = bytes(1 << 20)
BUFFERED_BYTES_MAX = 32 << 20
"""What the system may hold of a connection whose other end reads no more."""
REFUSED = b"PUT /v1/jobs/unread?task=no-such-task HTTP/1.1\r\nHost: localhost\r\n"


def connected(server: Server) -> socket.socket:
    address = httpx.URL(server.url)
    assert address.port is not None
    return socket.create_connection((address.host, address.port), timeout=SECONDS_MAX)


def answer_on(connection: socket.socket) -> bytes:
    """The status line of the next answer, all of which is read."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while size:
        size -= len(connection.recv(size))
    return head.partition(b"\r\n")[0]


def test_who_listens_after_sending_hears_the_answer(server: Server) -> None:
    """The rest of a refused body is read and dropped, and the connection serves the next request."""
    with connected(server) as connection:
        connection.sendall(REFUSED + b"Content-Length: %d\r\n\r\n" % (32 << 20))
        for _ in range(32):
            connection.sendall(PIECE)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert answer_on(connection) == b"HTTP/1.1 422 Unprocessable Entity"
        assert answer_on(connection) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % (1 << 40), b"Transfer-Encoding: chunked"])
def test_who_never_listens_is_cut_off(server: Server, framing: bytes) -> None:
    """After so many bytes the connection is closed, however much more was announced."""
    piece = PIECE if framing.startswith(b"Content") else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    with connected(server) as connection:
        connection.sendall(REFUSED + framing + b"\r\n\r\n")

        with pytest.raises(ConnectionError):
            connection.sendall(piece * ((REST_BYTES_MAX + BUFFERED_BYTES_MAX) // len(PIECE)))


def test_who_sends_no_more_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so long the connection is closed, though nothing else would close it."""
    monkeypatch.setattr(protocol, "REST_SECONDS_MAX", 0.01)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 422, "headers": headers})
        await send({"type": "http.response.body"})

    async def served() -> bytes:
        config = uvicorn.Config(app, http=Protocol, lifespan="off", timeout_keep_alive=3600, log_config=None)
        state = uvicorn.server.ServerState()
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
        async with listening:
            host, port = listening.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(REFUSED + b"Content-Length: 9\r\n\r\nbody")
            answer = await asyncio.wait_for(reader.read(), SECONDS_MAX)
            writer.close()
            return answer

    assert asyncio.run(served()).startswith(b"HTTP/1.1 422")
