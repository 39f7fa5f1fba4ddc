"""`python -m app key`, and what the service makes of the file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.domain.caller import Role
from bench.server import ROOT
from tests.integration.answers import problem_of
from tests.integration.callers import bearer, serving_keys
from tests.waiting import eventually


def run(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """What `python -m app` does with these arguments and `MILLPOND_` settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
    environment |= {f"MILLPOND_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "app", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_key_is_shown_once_and_kept_nowhere(tmp_path: Path) -> None:
    """What is printed is the key; the file, which nobody else may read, and the list do not have it."""
    file = tmp_path / "keys.json"
    made = run("key", "add", "etl", "--role", "submit", api_keys_file=str(file))
    run("key", "add", "etl", "--role", "read", "--file", file)
    listed = run("key", "list", "--file", file).stdout

    key = made.stdout.strip()
    assert key.startswith("millpond_")
    assert len(key) >= 50
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [line.split()[:2] for line in listed.splitlines()] == [["etl", "submit"], ["etl", "read"]]

    one = listed.splitlines()[0].split()[-1]
    assert run("key", "revoke", "etl", "--id", one, "--file", file).stdout == "1 key revoked\n"
    assert run("key", "revoke", "nobody", "--file", file).returncode == 1
    assert run("key", "list", "--file", file).stdout.split()[:2] == ["etl", "read"]


@pytest.mark.parametrize("settings", [{}, {"api_keys_file": "/nonexistent/keys.json"}])
def test_nobody_is_let_in_by_accident(tmp_path: Path, settings: dict[str, str]) -> None:
    """Beyond loopback without keys the service does not start, and names both remedies."""
    refused = run(data_dir=str(tmp_path), host="0.0.0.0", **settings)

    assert refused.returncode == 2
    assert refused.stderr.startswith(("MILLPOND_HOST=", "MILLPOND_API_KEYS_FILE="))
    assert "python -m app key add" in refused.stderr
    assert "MILLPOND_AUTH=none" in refused.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [("two words", "letters, digits"), ("", "letters, digits"), ("x" * 65, "letters, digits")],
)
def test_a_name_that_a_caller_cannot_have_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """With what it may consist of; no file is made."""
    refused = run("key", "add", name, "--role", "read", "--file", tmp_path / "keys.json")

    assert refused.returncode == 2
    assert said in refused.stderr
    assert not (tmp_path / "keys.json").exists()


def test_a_file_that_is_not_right_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    """The log says what is wrong with it; a new key counts from the next request on."""
    with serving_keys(tmp_path) as keyed, keyed.client("ann") as ann:
        content = (tmp_path / "keys.json").read_text()
        for wrong in ("{", '{"keys":[{"name":"ann"}]}', '{"kees":[]}'):
            (tmp_path / "keys.json").write_text(wrong)
            assert ann.get("/v1/jobs").status_code == 200
        (tmp_path / "keys.json").unlink()
        assert ann.get("/v1/jobs").status_code == 200
        eventually(lambda: "is not a file of keys" in keyed.server.read_log(), 5, "the log")

        (tmp_path / "keys.json").write_text(content)
        key = keyed.new_key("new", Role.READ)
        assert ann.get("/v1/jobs", headers=bearer(key)).status_code == 200
        keyed.file.revoke("new")
        problem_of(ann.get("/v1/jobs", headers=bearer(key)), 401)
