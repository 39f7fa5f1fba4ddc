"""Millpond: one item is a job of one, many are a job of many, over HTTP with its results followed."""

import json
import tempfile
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.following import as_document, follow
from bench.peers.library import LIMIT_SECONDS, WORKERS, Failed, Pending
from bench.server import Server


class Millpond:
    def __init__(self) -> None:
        settings = {"MILLPOND_PROCESSES": str(WORKERS), "MILLPOND_TASKS": "bench.peers.tasks"}
        self._server = Server(Path(tempfile.mkdtemp()), settings)

    def start(self) -> None:
        self._server.start()
        self._connection = HTTPConnection(urlsplit(self._server.url).netloc)

    def crash(self) -> None:
        self._connection.close()
        self._server.kill()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[str]:
        return [self._ask("POST", "/v1/jobs", _document(name, [item]))["id"] for item in items]

    def outcome(self, handle: str, seconds: float) -> Any:
        job = self._ask(
            "GET", f"/v1/jobs/{handle}", headers={"Prefer": f"wait={min(60, max(1, int(seconds)))}"}
        )
        if job["results"] is None:
            raise Pending
        (result,) = job["results"]
        return _output(result)

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        options = {"params": {"name": name}}
        lines = follow(self._server.url, as_document("call", _named(items), **options)).splitlines()
        results = sorted((json.loads(line) for line in lines), key=lambda result: int(result["index"]))
        return [_output(result) for result in results]

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        self._connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        response = self._connection.getresponse()
        document = json.loads(response.read())
        assert response.status in (200, 202), document
        return document


def _document(name: str, items: Sequence[Any]) -> bytes:
    limit = {"item_timeout_seconds": LIMIT_SECONDS} if name == "hang" else {}
    job = {"task": "call", "params": {"name": name}, **limit}
    return b'%b,"items":%b}' % (json.dumps(job).encode()[:-1], _named(items))


def _named(items: Sequence[Any]) -> bytes:
    return json.dumps([{"item": item} for item in items]).encode()


def _output(result: dict[str, Any]) -> Any:
    if error := result.get("error"):
        raise Failed(error.get("signal") or error["type"])
    return result["output"]
