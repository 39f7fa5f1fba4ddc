"""The HTTP server's life: its address is had before anything is made, and its streams end before it stops."""

import asyncio
import contextlib
import logging
import socket
from types import FrameType

from uvicorn.config import Config
from uvicorn.server import Server as HttpServer

from app.domain.errors import ServiceError
from app.service.jobs import Jobs

DATE_SECONDS = 1.0
"""How often what answers say of the time is made anew."""
CONNECTING_MAX = 2_048
"""Connections that wait to be taken; of more the system has the clients try again."""
TAKEN_MAX = 64
"""Of these, in one turn of the loop: asyncio takes as many as may wait, which it sees to itself."""

log = logging.getLogger(__name__)


def bound(host: str, port: int) -> socket.socket:
    """A socket of this address; ServiceError if it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ServiceError(
            f"MILLPOND_HOST={host}, MILLPOND_PORT={port}: cannot listen there: {error.strerror}"
        ) from error
    return listener


class Server(HttpServer):
    """Ends open streams at the first sign of a stop; uvicorn would wait for them for ever."""

    def __init__(self, config: Config, jobs: Jobs) -> None:
        config.backlog = TAKEN_MAX
        super().__init__(config)
        self._jobs = jobs
        self._failure: BaseException | None = None
        self._ending = asyncio.Event()

    def serve_on(self, listener: socket.socket) -> None:
        """Run until told to stop.  Raises what `fail` was told."""
        self.run(sockets=[listener])
        if self._failure is not None:
            raise self._failure

    def fail(self, failure: BaseException) -> None:
        """Stop, for this reason."""
        self._failure = failure
        self.should_exit = True
        self._end()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(CONNECTING_MAX)
            host, port = listener.getsockname()[:2]
            log.info("running on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._end)
        super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Until it should exit; uvicorn's own looks ten times a second whether it should."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_SECONDS):
                    await self._ending.wait()

    def _end(self) -> None:
        self._jobs.close()
        self._ending.set()
