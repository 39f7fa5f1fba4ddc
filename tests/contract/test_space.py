"""What was deleted goes in small steps, and the file gives its free pages back, keeping some for what comes next."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.stores import housekeeping
from app.stores.housekeeping import SLACK_SHARE, sweep
from tests.contract.conftest import Run
from tests.contract.large import a_large_block, opened, submit

PAGE_BYTES = 4096
SLACK_PAGES = 10
STEP_PAGES = 60
ROWS = 500
"""Of a page or a little more each."""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    monkeypatch.setattr(housekeeping, "SLACK_PAGES", SLACK_PAGES)
    with closing(sqlite3.connect(tmp_path / "db.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("CREATE TABLE owners (id INTEGER PRIMARY KEY, dead INTEGER)")
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, text BLOB)")
        rows = [(number, bytes(PAGE_BYTES - 500)) for number in range(ROWS)]
        connection.executemany("INSERT INTO texts VALUES (?, ?)", rows)
        yield connection


def number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@pytest.mark.parametrize("kept", [0, 300])
def test_free_pages_go_in_steps_until_some_are_left(database: sqlite3.Connection, kept: int) -> None:
    """As many as a small file may need, or a share of a large one; no step takes more than it may."""
    database.execute("DELETE FROM texts WHERE id >= ?", (kept,))
    steps, more = [], True
    while more:
        before = number(database, "page_count")
        more, owner = sweep(database, STEP_PAGES * PAGE_BYTES)
        assert owner is None
        steps.append(before - number(database, "page_count"))

    assert all(0 < step <= STEP_PAGES for step in steps)
    pages, free = number(database, "page_count"), number(database, "freelist_count")
    least = max(SLACK_PAGES, pages * SLACK_SHARE)
    assert least <= free <= least + STEP_PAGES * SLACK_SHARE


def test_a_step_of_less_than_a_page_takes_one(database: sqlite3.Connection) -> None:
    """It would come to no end otherwise."""
    database.execute("DELETE FROM texts")
    before = number(database, "page_count")

    assert sweep(database, 1) == (True, None)
    assert number(database, "page_count") == before - 1


def test_what_hangs_on_a_deleted_job_goes_in_small_steps(tmp_path: Path, run: Run) -> None:
    """Of its items, no more than one after so many bytes; in the end no row is left."""
    blocks = [a_large_block(number, 1_000) for number in range(20)]
    with opened(tmp_path) as store, closing(sqlite3.connect(tmp_path / "millpond.sqlite")) as connection:
        run(submit(store, "j", *blocks))
        run(store.delete_job("j"))
        left, more = [], True
        while more:
            left.append(connection.execute("SELECT count(*) FROM blocks").fetchone()[0])
            more = run(store.sweep(3_500))

        assert left[:5] == [20, 16, 12, 8, 4]
        assert left[5:] == [0] * (len(left) - 5)
        assert connection.execute("SELECT count(*) FROM owners").fetchone() == (0,)
