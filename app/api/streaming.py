"""Answers that go on while a job runs.

Invariant: a stream that ends cleanly is complete; one that cannot be completed is cut off.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.responses import StreamingResponse

from app.domain.errors import MillpondError
from app.domain.item import View
from app.service.jobs import PAGE_BYTES_MAX, Jobs

HEARTBEAT_SECONDS = 4.0
LINES_MAX = 100_000
PIECE_BYTES = 256 << 10
"""More is not sent at once: to copy it for a connection takes time."""
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""So that no proxy keeps a stream, or holds it back."""

CUT_OFF = "millpond.cut_off"
"""The server's extension (ASGI, Extensions) that ends a connection in the middle of an answer, as is meant."""

Piece = bytes | memoryview
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Unfinished(Exception):
    """The stream cannot be completed now; its client should come back."""


class Stream(StreamingResponse):
    """A streaming answer whose body may raise: then it is cut off, and does not end cleanly.

    It also ends when its client has gone: a task of its own waits for that, and interrupts it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._cut_off = scope["extensions"][CUT_OFF]
        sending = asyncio.current_task()
        assert sending is not None
        gone = False

        async def watch() -> None:
            nonlocal gone
            await self.listen_for_disconnect(receive)
            gone = sending.cancel()

        watching = asyncio.create_task(watch())
        try:
            await self.stream_response(send)
        except asyncio.CancelledError:
            if not gone or sending.uncancel():  # somebody else interrupts it
                raise
        finally:
            watching.cancel()

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for whole in self.body_iterator:
                for piece in divided(whole):  # type: ignore[arg-type]  # we give no text
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    if piece is not whole:
                        await asyncio.sleep(0)
        except (Unfinished, MillpondError):  # the latter: the job has gone meanwhile, or cannot be read
            self._cut_off()
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def divided(whole: Piece) -> Iterable[Piece]:
    """The same bytes in pieces that may be sent."""
    if len(whole) <= PIECE_BYTES:
        return (whole,)
    return (whole[start : start + PIECE_BYTES] for start in range(0, len(whole), PIECE_BYTES))


async def follow(jobs: Jobs, job_id: str, view: View, after: int) -> AsyncIterator[bytes]:
    """The view's lines after the first `after`, as they come, until there can be no more.

    A space after 4 s of silence keeps proxies and clients awake; JSON ignores it.
    """
    live = None
    while True:
        live = jobs.live(job_id) or live  # the last of a job that has just ended may still be in memory
        bell = jobs.bell(job_id)
        seen = bell.rings if bell else 0
        page = live.recent.page(after, PAGE_BYTES_MAX) if live and view == View() else None
        if page is None:
            page = await jobs.results(job_id, view, after, LINES_MAX)
        if page.count:
            after = page.next_after
            yield page.lines
        elif bell is None:
            return
        elif jobs.closing.is_set():
            raise Unfinished
        else:
            await bell.wait(seen, HEARTBEAT_SECONDS)
            if bell.rings == seen:
                yield b" "


async def available(jobs: Jobs, job_id: str, view: View, after: int) -> AsyncIterator[bytes]:
    """The view's lines after the first `after` that are there now."""
    while (page := await jobs.results(job_id, view, after, LINES_MAX)).count:
        yield page.lines
        after = page.next_after


async def stretch(pieces: AsyncIterator[bytes], skip: int, size: int) -> AsyncIterator[bytes]:
    """`size` bytes of these, after the first `skip`."""
    async for piece in pieces:
        part = piece[skip : skip + size]
        skip = max(0, skip - len(piece))
        size -= len(part)
        if part:
            yield part
        if not size:
            return


class HeadersOnly:
    """Answers HEAD as GET without its body (RFC 9110, 9.3.2); a stream is not even started."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        head = scope["type"] == "http" and scope["method"] == "HEAD"
        return (self._headers if head else self._app)(scope, receive, send)

    async def _headers(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                raise _HeadSent

        try:
            scope["method"] = "GET"
            await self._app(scope, receive, send_head)
        except _HeadSent:
            pass


class _HeadSent(Exception):
    pass
