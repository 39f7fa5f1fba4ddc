"""`python -m app check` and `backup`, beside a service that serves."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from bench.server import ROOT, Server
from tests.conftest import serving
from tests.integration.answers import JSONL, a_picture, client, document_of, ended, submitted
from tests.waiting import eventually

SECONDS_MAX = 30


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What `python -m app …` says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip


def check(data: Path) -> str:
    """What `check` says of a data directory that is right."""
    done = command("check", "--data-dir", data)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.endswith("no problems\n")
    return done.stdout


def work(server: Server, stop: threading.Event) -> None:
    """Jobs of many kinds, one after the other."""
    with client(server) as api:
        while not stop.is_set():
            picture = document_of(api.post("/v1/files", content=a_picture("red")).raise_for_status())["file"]
            ended(api, submitted(api, "resize_image", [picture, "none"])["id"])
            job = document_of(api.post("/v1/jobs?task=risky", content=b"1\n5\n" * 2_000, headers=JSONL))
            api.post(job["links"]["cancel"])
            ended(api, job["id"])
            api.delete(job["links"]["self"]).raise_for_status()


def test_a_service_at_work_is_checked_and_copied(tmp_path: Path) -> None:
    """Clean at any moment; the copy serves what the original had, and goes on with what was unfinished."""
    with serving(tmp_path / "data", prune_seconds="0.05") as server:
        stop = threading.Event()
        worker = threading.Thread(target=work, args=(server, stop))
        with client(server) as api:
            file_id = document_of(api.post("/v1/files", content=b"kept").raise_for_status())["file"]
            done = ended(api, submitted(api, "risky", [1, 5, 6], max_attempts=2)["id"])
            results = api.get(done["links"]["results"]).content
            job = submitted(api, "sleep_for", [0.002] * 2_000)
            eventually(lambda: api.get(job["links"]["self"]).json()["counts"]["succeeded"], 10, "a result")
            worker.start()
            try:
                for _ in range(3):
                    check(server.data)
                copied = command("backup", "--data-dir", server.data, tmp_path / "copy")
            finally:
                stop.set()
                worker.join()
            assert (copied.returncode, copied.stderr) == (0, "")
            assert f"MILLPOND_DATA_DIR={tmp_path / 'copy'}" in copied.stdout
            assert ended(api, job["id"])["counts"]["succeeded"] == 2_000
    items = check(tmp_path / "data").split()[3]
    assert int(items.replace(",", "")) > 2_000
    check(tmp_path / "copy")

    with serving(tmp_path / "copy") as server, client(server) as api:
        assert api.get(done["links"]["results"]).content == results
        assert api.get(f"/v1/files/{file_id}").content == b"kept"
        assert ended(api, job["id"])["counts"]["succeeded"] == 2_000
    check(tmp_path / "copy")


def test_what_is_wrong_is_told_and_is_the_exit_status(tmp_path: Path) -> None:
    """1 for problems, 2 for what cannot be checked at all."""
    with serving(tmp_path / "data") as server, client(server) as api:
        file_id = document_of(api.post("/v1/files", content=b"kept").raise_for_status())["file"]
    (tmp_path / "data" / "files" / file_id[7:9] / file_id).unlink()

    wrong = command("check", "--data-dir", tmp_path / "data")
    nothing = command("check", "--data-dir", tmp_path / "dta")

    assert wrong.returncode == 1
    assert wrong.stdout.splitlines()[0] == f"file {file_id}: it is not there"
    assert wrong.stdout.splitlines()[-1].endswith(": 1 problems")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "holds no Millpond" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("backup",), "target"),
        (("chekc",), "chekc"),
        (("check", "--deep"), "--deep"),
        (("backup", "data"), "data"),
    ],
)
def test_a_command_that_is_wrong_says_what_is_right(arguments: tuple[str, ...], told: str) -> None:
    """Exit status 2, as for settings."""
    done = command(*arguments)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_command() -> None:
    """And what each is for."""
    said = command("--help").stdout

    assert all(name in said for name in ("serve", "check", "backup", "MILLPOND_"))


def test_serve_is_what_happens_anyway(tmp_path: Path) -> None:
    """With or without its name."""
    environment = os.environ | {"MILLPOND_PORT": "0", "MILLPOND_DATA_DIR": str(tmp_path)}
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environment, stderr=stderr
        )
        try:
            eventually(lambda: "running on http" in log.read_text(), SECONDS_MAX, "it listens")
            url = log.read_text().partition("running on ")[2].split()[0]
            assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
        finally:
            process.terminate()
            process.wait()
