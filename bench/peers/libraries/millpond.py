"""Millpond: one item is a job of one, many are a job of many, and those that come one by one are an open job's.

As its documentation has it: a single call says how long it waits for its result (docs/api.md, `Prefer: wait`);
items that come one after the other go into an open job, whose results are followed (docs/control.md, "Open jobs").
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.following import as_document, follow
from bench.peers.library import LIMIT_SECONDS, WORKERS, Failed, Pending
from bench.server import Server

WAIT_SECONDS = 60


@dataclass(slots=True)
class _Job:
    id: str
    results: dict[int, Any] = field(default_factory=dict)
    """By index, those that were read so far."""
    stream: HTTPResponse | None = None
    """What the others come from."""


class Millpond:
    def __init__(self) -> None:
        settings = {"MILLPOND_PROCESSES": str(WORKERS), "MILLPOND_TASKS": "bench.peers.tasks"}
        self._server = Server(Path(tempfile.mkdtemp()), settings)

    def start(self) -> None:
        self._server.start()
        self._connection = self._connected(WAIT_SECONDS + 1)

    def crash(self) -> None:
        self._connection.close()
        self._server.kill()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[tuple[_Job, int]]:
        if len(items) == 1:
            said = self._ask("POST", "/v1/jobs", _document(name, items), {"Prefer": f"wait={WAIT_SECONDS}"})
            return [(_Job(said["id"], _by_index(said["results"] or ())), 0)]
        job = _Job(self._ask("POST", "/v1/jobs", _document(name, ()))["id"])
        for index, item in enumerate(items):
            self._ask("POST", f"/v1/jobs/{job.id}/items?offset={index}", _named([item]))
        self._ask("POST", f"/v1/jobs/{job.id}/seal")
        return [(job, index) for index in range(len(items))]

    def outcome(self, handle: tuple[_Job, int], seconds: float) -> Any:
        job, index = handle
        deadline = time.monotonic() + seconds
        while index not in job.results:
            if (left := deadline - time.monotonic()) <= 0:
                raise Pending
            self._read_one(job, left)
        return _output(job.results[index])

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        options = {"params": {"name": name}}
        lines = follow(self._server.url, as_document("call", _named(items), **options)).splitlines()
        results = _by_index(json.loads(b"[%b]" % b",".join(lines)))  # one call, a fifth of what so many take
        return [_output(results[index]) for index in sorted(results)]

    def _read_one(self, job: _Job, seconds: float) -> None:
        """Read the next result if it comes in this time; a stream that breaks goes on where it was."""
        try:
            if job.stream is None:
                connection = self._connected(seconds)
                connection.request(
                    "GET", f"/v1/jobs/{job.id}/results.jsonl?follow=1&after={len(job.results)}"
                )
                job.stream = connection.getresponse()
            line = job.stream.readline()
        except (OSError, HTTPException):
            line = b""
        if line.endswith(b"\n"):
            job.results |= _by_index([json.loads(line)])
        elif job.stream is not None:
            job.stream.close()
            job.stream = None

    def _connected(self, seconds: float) -> HTTPConnection:
        return HTTPConnection(urlsplit(self._server.url).netloc, timeout=seconds)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        self._connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        response = self._connection.getresponse()
        document = json.loads(response.read())
        assert response.status in (200, 202), document
        return document


def _document(name: str, items: Sequence[Any]) -> bytes:
    """A job of these; an open one if there are none yet."""
    limit = {"item_timeout_seconds": LIMIT_SECONDS} if name == "hang" else {}
    job = {"task": "call", "params": {"name": name}, **limit, **({} if items else {"open": True})}
    return b'%b,"items":%b}' % (json.dumps(job).encode()[:-1], _named(items))


def _named(items: Sequence[Any]) -> bytes:
    return json.dumps([{"item": item} for item in items]).encode()


def _by_index(results: Any) -> dict[int, Any]:
    return {result["index"]: result for result in results}


def _output(result: dict[str, Any]) -> Any:
    if error := result.get("error"):
        raise Failed(error.get("signal") or error["type"])
    return result["output"]
