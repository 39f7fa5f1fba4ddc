"""The HTTP server's life: its address is had before anything is made, and its streams end before it stops."""

import asyncio
import logging
import socket
from types import FrameType

from uvicorn.config import Config
from uvicorn.server import Server as HttpServer

from app.domain.errors import ServiceError
from app.service.jobs import Jobs

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
        super().__init__(config)
        self._jobs = jobs
        self._failure: BaseException | None = None

    def serve_on(self, listener: socket.socket) -> None:
        """Run until told to stop.  Raises what `fail` was told."""
        self.run(sockets=[listener])
        if self._failure is not None:
            raise self._failure

    def fail(self, failure: BaseException) -> None:
        """Stop, for this reason."""
        self._failure = failure
        self._jobs.close()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            log.info("running on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._jobs.close)
        super().handle_exit(sig, frame)
