"""Clients that come back after every break, as the contract says, with what they have."""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import httpx

from bench.server import Server
from tests.integration.answers import events_of
from tests.waiting import eventually_moving

RETURN_SECONDS, RETURN_SECONDS_MAX = 0.1, 30.0
"""How soon one comes back, again and again, and how long it may take until there is a service."""


class Reading(Protocol):
    """One connection: yields lines of a view from cursor `have` on, until the stream ends.

    It calls `begun` once its answer has begun.
    """

    def __call__(
        self, client: httpx.Client, job_id: str, have: int, begun: Callable[[], None]
    ) -> Iterator[bytes]: ...


def follow(query: str) -> Reading:
    """Result lines as JSON lines; a client has what it has whole lines of."""

    def read(client: httpx.Client, job_id: str, have: int, begun: Callable[[], None]) -> Iterator[bytes]:
        url = f"/v1/jobs/{job_id}/results.jsonl?follow=1&after={have}{query}"
        with client.stream("GET", url) as response:
            _check_started(response)
            assert response.status_code == 200, response.read()
            begun()
            rest = b""
            for piece in response.iter_raw():
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.lstrip(b" ") for line in lines)
            assert rest.strip(b" ") == b"", "a clean end is complete"

    return read


def events(query: str) -> Reading:
    """Result lines out of events; the client says `Last-Event-ID`, as a browser does."""

    def read(client: httpx.Client, job_id: str, have: int, begun: Callable[[], None]) -> Iterator[bytes]:
        headers = {"Last-Event-ID": str(have)} if have else {}
        with client.stream("GET", f"/v1/jobs/{job_id}/events?{query}", headers=headers) as response:
            if response.status_code == 204:
                return
            _check_started(response)
            assert response.status_code == 200, response.read()
            begun()
            event = None
            for event in events_of(response):
                if event.name == "results":
                    yield from event.lines
                    have += len(event.lines)
                assert event.id == str(have)
            assert event is not None
            assert event.name in ("job", "end"), "the last event says whether there is more"
            if event.name == "job":
                raise httpx.ReadError("the service was told to stop")

    return read


def _check_started(response: httpx.Response) -> None:
    """A service that takes long to start says 503: its client comes back, as after a break."""
    if response.status_code == 503:
        raise httpx.ReadError("not ready yet")


class Reader(threading.Thread):
    """Reads a view of a job to its end, however often the service goes away."""

    def __init__(self, server: Server, job_id: str, reading: Reading) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._job_id = job_id
        self._reading = reading
        self.lines: list[bytes] = []
        self.begun = self.breaks = 0
        """How many of its connections."""
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._server.client() as client:
                eventually_moving(
                    lambda: self._connection(client),
                    lambda: self.begun,
                    10 * RETURN_SECONDS_MAX,
                    "the end of the stream",
                    RETURN_SECONDS,
                )
        except BaseException as error:
            self.failure = error

    def result(self, seconds: float) -> list[bytes]:
        """Every line, in the order they came; an AssertionError if none and no connection has come for so long."""
        eventually_moving(
            lambda: not self.is_alive(), lambda: (len(self.lines), self.begun), seconds, "the reader's end"
        )
        if self.failure is not None:
            raise self.failure
        return self.lines

    def _begin(self) -> None:
        self.begun += 1

    def _connection(self, client: httpx.Client) -> bool:
        """Read on from where the last connection broke; whether this one did not."""
        try:
            for line in self._reading(client, self._job_id, len(self.lines), self._begin):
                self.lines.append(line)
        except httpx.ConnectError:
            return False  # it is still away
        except httpx.TransportError:
            self.breaks += 1
            return False
        return True
