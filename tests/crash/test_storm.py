"""A small storm, and the deaths that need no load: while the schema changes, and in the middle of a backup."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.stores.schema import scripts
from app.stores.verification import verify
from bench.server import ROOT
from tests.conftest import serving
from tests.crash.storm import NUMBERS, storm
from tests.integration.answers import client, ended, submitted

SEED = 4
"""A large storm with a seed of its own: `make soak`."""
SCHEMAS = Path(__file__).parent.parent / "contract" / "schemas"


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("durability", "kills"), [("process", 19), ("power", 6)])
def test_what_was_acknowledged_outlives_any_death(durability: str, kills: int) -> None:
    """Each job is complete with one right result an item, each reader saw each line once, each death left order."""
    with storm(SEED, durability) as raging:
        raging.rage(kills)

    assert raging.ledger.flaws == [], (
        f"python -m tests.crash.storm --seed {SEED} --durability {durability}: {raging}"
    )
    assert raging.deaths.total() == kills
    if kills > len(NUMBERS):
        assert len(raging.deaths) > len(NUMBERS) // 2, f"few moments came: {raging}"
    assert any(promise.reader is not None and promise.reader.breaks for promise in raging.ledger.promises)


def struck(tmp_path: Path, moment: str, number: int, *command: str) -> int:
    """Run a command that dies at this moment; its exit status."""
    (tmp_path / "moment").write_text(f"{moment} {number}")
    harm = {"HARM": "tests.harm.moments", "HARM_MOMENT": str(tmp_path / "moment")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment | harm,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def test_a_change_of_schema_that_is_killed_is_made_by_the_next_start(tmp_path: Path) -> None:
    """At any point the database is of one schema or the next, with all it held."""
    open_it = (
        "import sys, tests.harm.moments; from pathlib import Path; from app.stores.sqlite import SqliteStore;"
        " store = SqliteStore(Path(sys.argv[1])); store.open(); store.close()"
    )
    path = tmp_path / "millpond.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SCHEMAS / "1.sql").read_text())
    number = deaths = 0
    while struck(tmp_path, "scripting", number := number + 1 + number // 2, "-c", open_it, str(path)):
        deaths += 1
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    assert deaths > 3
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts()),)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (2,)


@pytest.mark.parametrize("moment", ["copying", "renaming", "renamed"])
def test_a_backup_that_is_killed_is_whole_or_not_there(tmp_path: Path, moment: str) -> None:
    """And does not hinder the next one, nor the service."""
    with serving(tmp_path / "data") as server, client(server) as api:
        job_id = submitted(api, "square", list(range(5_000)))["id"]
        ended(api, job_id)
        command = ("-m", "tests.harm", "backup", "--data-dir", str(tmp_path / "data"))

        assert struck(tmp_path, moment, 1, *command, str(tmp_path / "copy")) == -signal.SIGKILL

        assert (tmp_path / "copy").exists() == (moment == "renamed")
        assert struck(tmp_path, "begun", 1, *command, str(tmp_path / "second")) == 0
        for copy in tmp_path.glob("copy"), tmp_path.glob("second"):
            assert [verify(place).problems for place in copy] in ([], [[]])
        assert ended(api, job_id)["counts"]["succeeded"] == 5_000
