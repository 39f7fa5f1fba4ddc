"""Databases of every released schema are taken up, with all they hold."""

import sqlite3
from pathlib import Path

import pytest

from app.domain.digest import Digest
from app.domain.item import View
from app.domain.job import Counts, Status
from app.domain.store import Query, Replay
from app.stores.schema import scripts
from app.stores.sqlite import SqliteStore
from tests.builders import NOON, a_block, a_job, a_line
from tests.contract.conftest import Run

SCHEMAS = Path(__file__).parent / "schemas"
"""`n.sql` is a database that a Millpond with schema n left: a finished job, one in the middle, a broken upload."""
FILE = "sha256-" + "0" * 64


def released() -> list[int]:
    return sorted(int(path.stem) for path in SCHEMAS.glob("*.sql"))


def test_every_schema_but_the_newest_has_its_sample() -> None:
    """A new step cannot be released without one of what was before it."""
    assert released() == list(range(1, len(scripts())))


@pytest.mark.parametrize("schema", released())
def test_a_database_of_an_older_schema_is_taken_up(tmp_path: Path, run: Run, schema: int) -> None:
    """Jobs, items, results, notes, files and keys are what they were; the broken upload is gone."""
    path = tmp_path / "millpond.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((SCHEMAS / f"{schema}.sql").read_text())
    connection.close()
    store = SqliteStore(path)
    store.open()

    assert [job.id for job in run(store.list_jobs(Query(9)))] == ["half", "done"]
    done, half = run(store.get_job("done")), run(store.get_job("half"))
    assert done is not None
    assert (done.status, done.label, done.counts) == (
        Status.COMPLETED,
        "Nightly",
        Counts(3, succeeded=2, failed=1),
    )
    assert half is not None
    assert (half.status, half.counts) == (Status.RUNNING, Counts(3, succeeded=1))
    page = run(store.read_results("done", View(), 0, lines_max=9, bytes_max=999, settled=True))
    assert page.lines == a_line(1, failed=True) + a_line(0) + a_line(2)
    assert run(store.done_ranges("half")) == [(2, 1)]
    assert run(store.read_block("done", 2)) == a_block(2, 1)
    assert run(store.read_block("half", 0)) == a_block()
    assert [(note.index, note.log) for note in run(store.notes("done"))] == [(0, "hello\n"), (1, None)]
    assert (done.error_groups, half.error_groups) == ((), ())
    assert run(store.read_digest("done")) == Digest("done", done_before=3, failed_before=1)
    assert run(store.read_digest("half")) == Digest("half", done_before=1)
    assert run(store.forget_files([FILE])) == []
    assert run(store.replay("key")) == Replay("done", "00")
    run(store.begin_upload("broken"))
    run(store.create_job(a_job("new"), [a_block()]))
    assert run(store.expire_jobs(NOON.replace(year=2031), 9)) == ["done"]
    while run(store.sweep(1)):
        pass
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (2,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
