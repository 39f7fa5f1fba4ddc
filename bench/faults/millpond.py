"""Millpond, as its callers use it: over HTTP, items and results as JSON."""

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.faults.library import WORKERS, Ledger, Work
from bench.faults.tasks import item
from bench.server import Server


class Millpond:
    def start(self) -> None:
        settings = {"MILLPOND_PROCESSES": str(WORKERS), "MILLPOND_TASKS": item.__module__}
        self._server = Server(Path(tempfile.mkdtemp()), settings)
        self._server.start()
        self._client = self._server.client()

    @property
    def parent_pid(self) -> int:
        return self._server.pid

    def each(self, work: Work, ledger: Ledger) -> None:
        self._run(work, ledger, {"chunksize": 1})

    def map(self, work: Work, ledger: Ledger) -> None:
        self._run(work, ledger, {})

    def _run(self, work: Work, ledger: Ledger, options: dict[str, Any]) -> None:
        """Submit a job, and follow its results."""
        job = {
            "task": item.__name__,
            "params": {"misdeed": work.misdeed},
            "items": list(work.items),
            "item_timeout_seconds": work.limit_seconds,
            **options,
        }
        with self._client.stream("POST", "/v1/jobs?follow=1", json=job) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.strip():
                    _enter(json.loads(line), work, ledger)


def _enter(result: dict[str, Any], work: Work, ledger: Ledger) -> None:
    x = work.items[result["index"]]
    if error := result.get("error"):
        ledger.failed(x, f"{error['type']}: {error['message']}")
    else:
        ledger.succeeded(x, result["output"])
