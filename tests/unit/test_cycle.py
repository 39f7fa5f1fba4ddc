"""An answer is written as a whole where it is there as a whole, and never with a header that ends its line."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from app.api.cycle import Cycle

DATE = (b"date", b"today")


class Written(asyncio.Transport):
    """What was written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def writelines(self, parts: Any) -> None:
        self.calls.append(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def answered(
    *messages: dict[str, Any], method: str = "GET", keep_alive: bool = True, fails: bool = False
) -> tuple[Written, bool]:
    """What an application's messages become, and whether the answer is complete."""

    async def run() -> tuple[Written, bool]:
        transport = Written()
        scope: Any = {"method": method, "headers": []}
        cycle = Cycle(
            scope=scope,
            transport=transport,
            flow=FlowControl(transport),
            logger=logging.getLogger(__name__),
            access_logger=logging.getLogger(__name__),
            access_log=False,
            default_headers=[DATE],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=lambda: None,
        )

        async def app(scope: Any, receive: Any, send: Any) -> None:
            for message in messages:
                await send(message)
            if fails:
                raise LookupError("of the application's own")

        await cycle.run_asgi(app)
        return transport, cycle.response_complete

    return asyncio.run(run())


def head(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)


def test_a_whole_answer_is_written_at_once() -> None:
    """Status, what the server adds, the headers in their order, the body."""
    written, complete = answered(head((b"location", b"/x"), length(2), status=202), body(b"{}"))

    assert written.calls == [
        b"HTTP/1.1 202 Accepted\r\ndate: today\r\nlocation: /x\r\ncontent-length: 2\r\n\r\n{}"
    ]
    assert complete
    assert not written.closed


@pytest.mark.parametrize("broken", [b"a\r\nset-cookie: b", b"a\nb", b"\x00", b"a\x7f"])
def test_no_header_ends_its_line(broken: bytes) -> None:
    """Nothing of such an answer is sent, and its connection is closed."""
    written, complete = answered(head((b"x", broken), length(2)), body(b"{}"))

    assert written.calls == []
    assert written.closed
    assert not complete


@pytest.mark.parametrize("size", [1, 3])
def test_a_body_of_another_length_than_was_said_is_no_answer(size: int) -> None:
    """The connection is closed: whoever reads it must not take what follows for the rest."""
    written, complete = answered(head(length(size)), body(b"{}"))

    assert written.closed
    assert not complete


@pytest.mark.parametrize(
    "messages",
    [
        (head(length(4)), body(b"12", more=True), body(b"34")),
        (head(length(4)), body(b"1234", more=True), body(b"")),
        (head(), body(b"1234")),
        (head(length(4), (b"connection", b"close")), body(b"1234")),
    ],
)
def test_what_is_not_whole_is_written_as_it_comes(messages: Sequence[dict[str, Any]]) -> None:
    """In pieces, of unknown length, or as the last of its connection."""
    written, complete = answered(*messages)
    told = b"".join(written.calls)

    assert complete
    assert told.startswith(b"HTTP/1.1 200 OK\r\ndate: today\r\n")
    assert b"1234" in told.replace(b"4\r\n", b"", 1)
    assert written.closed == (b"connection: close" in told)


def test_the_last_answer_of_a_connection_says_so() -> None:
    """Its client has asked for that."""
    written, complete = answered(head(length(2)), body(b"{}"), keep_alive=False)

    assert b"\r\nconnection: close\r\n" in b"".join(written.calls)
    assert complete
    assert written.closed


def test_a_head_alone_is_answered_without_the_body() -> None:
    """Also where the application gives one."""
    written, complete = answered(head(length(2)), body(b"{}"), method="HEAD")

    assert b"".join(written.calls).endswith(b"content-length: 2\r\n\r\n")
    assert complete


def test_who_fails_before_anything_was_sent_is_answered_for() -> None:
    """The head that waited is dropped, and a 500 goes out instead."""
    written, _ = answered(head(length(2)), fails=True)

    assert b"".join(written.calls).startswith(b"HTTP/1.1 500 ")
