"""The documents say what is so: their commands run, their tables are the code's, their links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from bench.server import Server
from tests.conftest import serving

ROOT = Path(__file__).parents[2]

LINE_CHARS_MAX = 120
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WRITTEN = re.compile(r"^<!-- (\w+): begin; written by .*?^<!-- \1: end -->$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)\)")


def blocks(document: str, language: str) -> list[str]:
    return [text for kind, text in _FENCE.findall((ROOT / document).read_text()) if kind == language]


def shell(command: str, server: Server | None, folder: Path) -> str:
    """What a command of a document prints, run in `folder` against `server`; `python -m app` is ours."""
    address = server.url.removeprefix("http://") if server else ""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.replace("localhost:8000", address)],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    """Every relative link of a document names a file that exists."""
    missing = [link for link in _LINK.findall(document.read_text()) if not (document.parent / link).exists()]

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_line_of_a_document_fits_on_a_screen(document: Path) -> None:
    """At most 120 characters, but for an address that is alone, and for tables that a command writes."""
    lines = _WRITTEN.sub("", document.read_text()).splitlines()

    long = [line for line in lines if len(line) > LINE_CHARS_MAX]
    assert [line for line in long if not re.fullmatch(r"\s*<?https?://\S+", line)] == []


def test_every_setting_is_documented_as_it_is() -> None:
    """docs/configuration.md has an item for each setting, with its default and its description."""
    text = (ROOT / "docs/configuration.md").read_text()
    items = [" ".join(item.split()) for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]

    expected = []
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = "" if default is None else f"; default: `{default}`"
        expected.append(f"`MILLPOND_{name.upper()}` — {field.description}{shown}")
    assert items == expected


def test_the_first_command_of_the_readme_answers_what_it_shows(server: Server, tmp_path: Path) -> None:
    """The README's first screen is what happens."""
    command = blocks("README.md", "console")[0].splitlines()[0].removeprefix("$ ")

    answer = re.sub(r',"duration_ms":[0-9.]+', "", shell(command, server, tmp_path))  # of who had to wait

    assert '"counts":{"total":3,"queued":0,"running":0,"succeeded":2,"failed":1,"cancelled":0}' in answer
    # Not in this order: each may have been another worker's.
    for result in (
        '{"index":0,"output":1.0}',
        '{"index":1,"output":2.0}',
        '{"index":2,"error":{"kind":"invalid_input"',
    ):
        assert result in answer
    assert "x: Input should be a valid number" in answer


def test_the_curl_lines_of_the_readme_do_what_they_say(server: Server, tmp_path: Path) -> None:
    """The README's usage runs as typed: a job under an own id, its last result, its events to their end."""
    setup, submit, results, events = blocks("README.md", "sh")[1].splitlines()

    shell(setup, server, tmp_path)
    assert '"id":"roots"' in shell(submit, server, tmp_path)
    assert '"output":' in shell(results, server, tmp_path)
    assert "event: end" in shell(events, server, tmp_path)


def test_the_commands_of_the_guide_to_jobs_in_flight_do_what_they_say(tmp_path: Path) -> None:
    """docs/control.md: an open job grows as it is shown, and ends with its seal; the pool gets its size."""
    grow, resize = blocks("docs/control.md", "sh")

    with serving(tmp_path / "data") as server, server.client() as client:
        printed = shell(grow, server, tmp_path)
        shell(resize, server, tmp_path)
        job = client.get("/v1/jobs/growing", headers={"Prefer": "wait=10"}).json()
        pool = client.get("/v1/pool").json()["pools"]["cpu"]

    for answer in re.findall(r"# (\{.+\})$", grow, re.MULTILINE):
        assert answer in printed
    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 9)
    assert pool["processes"] == 4


def test_the_keys_of_the_guide_for_callers_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """docs/callers.md: its commands run one after the other."""
    printed = shell(blocks("docs/callers.md", "sh")[0], None, tmp_path)

    assert re.search(r"^etl +submit ", printed, re.MULTILINE)
    assert shell("python -m app key list --file keys.json", None, tmp_path).count("etl") == 0


def test_a_copy_is_made_and_checked_as_the_page_on_durability_says(server: Server, tmp_path: Path) -> None:
    """docs/durability.md: check, quick check and backup, of a directory that is served."""
    *commands, restore = blocks("docs/durability.md", "sh")[0].replace("/backups/mon", "copy").splitlines()

    setup = f"export MILLPOND_DATA_DIR={server.data}"
    shell("\n".join([setup, *commands]), server, tmp_path)

    assert restore.startswith("MILLPOND_DATA_DIR=copy python -m app ")
    assert "wrong" not in shell("MILLPOND_DATA_DIR=copy python -m app check", None, tmp_path)


def test_the_client_of_the_guide_for_users_of_the_pool_is_one(server: Server, tmp_path: Path) -> None:
    """docs/pool.md: it prints what it says, goes on where it read, sends many at once, and raises what is told."""
    more = """
print(len(list(outcomes(submit("square", range(10)), after=7))))
print(sum(imap("square", range(2500))), len(list(lines(range(2500)))))
try:
    submit("sqtr", [])
except RuntimeError as error:
    print(error)
print(next(imap("sqrt", ["x"])))
"""
    program = blocks("docs/pool.md", "python")[0].replace("http://localhost:8000", server.url) + more

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    shown, outcomes, many, refused = ran.stdout.splitlines()
    assert shown == re.findall(r"# (.+)", program)[-1]
    assert (outcomes, many) == ("3", f"{sum(number**2 for number in range(2500))} 3")
    assert refused.startswith("No task is called 'sqtr'")
    assert ran.stderr.splitlines()[-1].startswith("RuntimeError: item 0: x: Input should be a valid number")


def test_the_task_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's own task, in a file of the name it gives, is served and counts words."""
    (tmp_path / "mytasks.py").write_text(blocks("README.md", "python")[0])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = blocks("README.md", "sh")[2]

    with serving(tmp_path / "data", tasks="mytasks") as server:
        counted = json.loads(shell(command, server, tmp_path))
        refused = json.loads(shell(command.replace('"to be or not to be"', "5"), server, tmp_path))

    assert counted["results"][0]["output"] == 1  # and a `duration_ms`, if it took one
    assert refused["results"][0]["error"]["kind"] == "invalid_input"


def test_the_example_of_the_task_guide_is_a_task(tmp_path: Path) -> None:
    """docs/tasks.md shows a task that loads."""
    (tmp_path / "guide.py").write_text(blocks("docs/tasks.md", "python")[0])
    program = "from workers.task import discover; print(list(discover(['guide'])))"

    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert printed.stdout.strip() == "['resize_image']"
