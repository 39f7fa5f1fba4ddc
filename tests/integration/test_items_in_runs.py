"""The serving process handles items in runs of many: what it does grows with these, not with the items."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.following import Submission, as_document, as_lines, follow
from bench.server import Server, started
from bench.squares import check, json_array, json_lines, json_objects
from tests.conftest import SETTINGS
from tests.integration.answers import JSONL, an_id, client, document_of, ended
from tests.waiting import eventually

ITEMS = 200_000
TIMES_MAX = ITEMS // 10
"""What is run for each item is run ten times as often; what is run for each piece, as often as there are pieces."""
TOLD_SECONDS_MAX = 10.0
_RAN = re.compile(r"^ran (\d+) times: (.*)$", re.MULTILINE)

FORMS: dict[str, Callable[[], Submission]] = {
    "lines": lambda: as_lines("square", json_lines(ITEMS)),
    "an array": lambda: as_document("square", json_array(ITEMS)),
    "objects with keys": lambda: as_lines("square", json_objects(ITEMS), key_field="x"),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_line_of_python_is_run_for_each_item_by_who_serves(tmp_path: Path, form: str) -> None:
    """From the first byte of the request to the last of the results, in any thread of the serving process."""
    settings = {f"MILLPOND_{name.upper()}": value for name, value in SETTINGS.items()}
    with started(Server(tmp_path, settings, "tests.counted")) as server:
        _told(server)
        check([follow(server.url, FORMS[form]())], ITEMS)
        log = _told(server)

    times, line = _RAN.findall(log)[-1]
    assert int(times) < TIMES_MAX, line


def test_no_line_of_python_is_run_for_each_item_that_is_run_again(tmp_path: Path) -> None:
    """Nor for each that is read, though every other item of the job failed."""
    settings = {f"MILLPOND_{name.upper()}": value for name, value in SETTINGS.items()}
    with started(Server(tmp_path, settings, "tests.counted")) as server, client(server) as api:
        bad, good = b'{"x": %31d}\n' % -1, b'{"x": %31d}\n' % 1
        body = (bad + good) * (ITEMS // 4)
        job = document_of(api.put(f"/v1/jobs/{an_id()}?task=sqrt", content=body, headers=JSONL))
        assert ended(api, job["id"])["counts"]["failed"] == ITEMS // 4
        api.patch("/v1/pool/cpu", json={"paused": True}).raise_for_status()
        _told(server)
        new = document_of(api.post(job["links"]["retry"]).raise_for_status())
        read = api.get(f"{job['links']['inputs']}?select=failed").content
        log = _told(server)

    assert new["counts"]["queued"] == ITEMS // 4
    assert read == bad * (ITEMS // 4)
    times, line = _RAN.findall(log)[-1]
    assert int(times) < TIMES_MAX // 4, line


def _told(server: Server) -> str:
    """The log, once it tells what was run until now."""
    before = server.read_log().count("counting\n")
    os.kill(server.pid, signal.SIGUSR1)
    with server.client() as client:
        client.get("/livez")  # a loop that turns hears of its signals

    def log() -> str | None:
        text = server.read_log()
        return text if text.count("counting\n") > before else None

    return eventually(log, TOLD_SECONDS_MAX, "what was run is told")
