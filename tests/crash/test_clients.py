"""Clients that others have written follow a live job through deaths of the service."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from bench.server import Server
from tests.conftest import serving
from tests.crash.live import ITEMS, KILLED_AT, killed_while_followed, opened
from tests.integration.answers import client
from tests.waiting import eventually

END_SECONDS_MAX = 60


def followed(tmp_path: Path, follow: "Follower") -> None:
    """The client has every line of the log at the end, each once and in its order."""
    with serving(tmp_path) as server:
        with client(server) as api:
            follow.job_id = job_id = opened(api)
        follow.server = server
        thread = threading.Thread(target=follow.run, daemon=True)
        thread.start()
        killed_while_followed(server, job_id, lambda: len(follow.lines))
        thread.join(END_SECONDS_MAX)
        assert not thread.is_alive()
        with client(server) as api:
            log = api.get(f"/v1/jobs/{job_id}/results.jsonl").content.splitlines()
    assert follow.breaks >= len(KILLED_AT)
    assert [json.loads(line) for line in follow.lines] == [json.loads(line) for line in log]
    assert sorted(json.loads(line)["index"] for line in log) == list(range(len(ITEMS)))


class Follower:
    """What a user writes around a client: come back with what you have, until the end."""

    server: Server
    job_id: str

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.breaks = 0

    def run(self) -> None:
        eventually(self.connection, END_SECONDS_MAX, "the end", 0.02)

    def connection(self) -> bool:
        """Whether it came to the end."""
        raise NotImplementedError


class HttpxSse(Follower):
    """`httpx-sse`; the id of the last event is all that it needs to know."""

    last_id = ""

    def connection(self) -> bool:
        url = f"/v1/jobs/{self.job_id}/events?include=results"
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        try:
            with (
                self.server.client() as api,
                connect_sse(api, "GET", url, headers=headers) as source,
            ):
                for event in source.iter_sse():
                    if event.event == "results":
                        self.lines += (json.dumps(line).encode() for line in event.json()["results"])
                    self.last_id = event.id
                    if event.event == "end":
                        return True
        except httpx.TransportError:
            self.breaks += 1
        return False


class Curl(Follower):
    """`curl -N`, started again with the number of lines that it has printed; its exit status tells a break."""

    def connection(self) -> bool:
        url = f"{self.server.url}/v1/jobs/{self.job_id}/results.jsonl?follow=1&after={len(self.lines)}"
        command = ["curl", "-sSfN", url]
        environment = os.environ | {"NO_PROXY": "*"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as curl:
            assert curl.stdout is not None
            self.lines += (line for line in curl.stdout if line.endswith(b"\n"))
        self.breaks += curl.returncode != 0
        return curl.returncode == 0


def test_httpx_sse_misses_and_repeats_nothing(tmp_path: Path) -> None:
    """It comes back with the last event's id."""
    followed(tmp_path, HttpxSse())


@pytest.mark.skipif(
    not shutil.which("curl") and "CI" not in os.environ, reason="no curl; in CI that is an error"
)
def test_curl_misses_and_repeats_nothing(tmp_path: Path) -> None:
    """It comes back with the number of lines it has; a break is no clean end."""
    followed(tmp_path, Curl())
