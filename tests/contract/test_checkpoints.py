"""The write-ahead log is emptied beside the writer, and has a bound."""

import asyncio
import errno
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.stores import connection
from app.stores.checkpoints import AGE_SECONDS_MAX, LOG_BYTES_MAX, STEP_BYTES, Checkpoints
from app.stores.connection import Database, connect
from tests.contract.conftest import Run
from tests.harm.disk import Fault
from tests.waiting import eventually

PIECE_BYTES = 2 << 20
SECONDS_MAX = 30


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with one table of texts."""
    database = Database(tmp_path / "db.sqlite", "process")
    database.open().execute("CREATE TABLE texts (text BLOB)")
    yield database
    database.close()


async def add(database: Database, text: bytes) -> None:
    await database.write(
        lambda connection: connection.execute("INSERT INTO texts VALUES (?)", (text,)).close()
    )


async def add_pieces(database: Database, size: int) -> None:
    for _ in range(0, size, PIECE_BYTES):
        await add(database, bytes(PIECE_BYTES))


def log_bytes(directory: Path) -> int:
    return (directory / "db.sqlite-wal").stat().st_size


def texts_in(path: Path) -> int | None:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM texts").fetchone()[0])


def texts_without_log(directory: Path, copy: Path) -> int:
    """How many are in the database's file alone; none while that is being written."""
    shutil.copyfile(directory / "db.sqlite", copy)
    try:
        return texts_in(copy) or 0
    except sqlite3.DatabaseError:
        return 0


def test_the_log_stays_within_its_limit_however_much_is_written(
    database: Database, tmp_path: Path, run: Run
) -> None:
    """And a step and a transaction; it begins anew again and again."""
    sizes = []
    for _ in range(3):
        run(add_pieces(database, LOG_BYTES_MAX))
        sizes.append(log_bytes(tmp_path))

    assert max(sizes) <= LOG_BYTES_MAX + STEP_BYTES + 2 * PIECE_BYTES


def test_a_reader_of_one_state_loses_nothing_and_the_log_shrinks_after_it(
    database: Database, tmp_path: Path, run: Run
) -> None:
    """While it reads, the log has to grow; it sees what was there when it began."""
    run(add(database, b"first"))
    with closing(connect(tmp_path / "db.sqlite", "process")) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM texts").fetchone()[0]
        run(add_pieces(database, 2 * LOG_BYTES_MAX))
        grown = log_bytes(tmp_path)
        assert reader.execute("SELECT count(*) FROM texts").fetchone()[0] == seen == 1
        reader.execute("ROLLBACK")
    run(add_pieces(database, LOG_BYTES_MAX))

    assert grown > 2 * LOG_BYTES_MAX
    assert log_bytes(tmp_path) <= LOG_BYTES_MAX + STEP_BYTES + 2 * PIECE_BYTES
    assert texts_in(tmp_path / "db.sqlite") == 1 + 3 * (LOG_BYTES_MAX // PIECE_BYTES)


def test_what_is_written_is_soon_in_the_database_itself(database: Database, tmp_path: Path, run: Run) -> None:
    """Once nothing more comes, however little it was."""
    run(add(database, b"one"))
    run(add(database, b"two"))

    eventually(
        lambda: texts_without_log(tmp_path, tmp_path / "copy.sqlite") == 2, SECONDS_MAX, "the log is emptied"
    )


def test_the_first_write_after_a_pause_does_not_begin_the_log(
    database: Database, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That waits for the disk, so it is done once while nobody waits, and not again until something is written."""

    def head() -> bytes:
        with (tmp_path / "db.sqlite-wal").open("rb") as log:
            return log.read(32)  # with salts that are new each time (sqlite.org/fileformat2.html#walformat)

    monkeypatch.setattr(connection, "QUIET_SECONDS", 0.01)
    run(add(database, b"one"))
    first = head()
    eventually(lambda: head() != first, SECONDS_MAX, "the log begins anew")
    second = head()
    for _ in range(20):
        run(database.read(lambda reader: reader.execute("SELECT 1").fetchall()))
    monkeypatch.setattr(connection, "QUIET_SECONDS", 3600)
    run(add(database, b"two"))

    assert head() == second
    assert texts_in(tmp_path / "db.sqlite") == 2


def test_what_is_written_is_soon_in_the_database_itself_though_more_comes(
    database: Database, tmp_path: Path, run: Run
) -> None:
    """A little at a time, and never a moment without."""

    def another_and_look() -> bool:
        run(add(database, b"more"))
        return texts_without_log(tmp_path, tmp_path / "copy.sqlite") > 0

    eventually(another_and_look, SECONDS_MAX, "the log is emptied")


def test_a_log_that_cannot_be_emptied_is_told_once_and_emptied_later(
    tmp_path: Path, disk: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost by it; the next try that can succeed does."""
    path = tmp_path / "db.sqlite"
    with closing(connect(path, "process")) as writer:
        checkpoints = Checkpoints(path, connect(path, "process"), step_bytes=0, log_bytes_max=0)
        checkpoints.start()
        writer.execute("CREATE TABLE texts (text BLOB)")
        writer.execute("INSERT INTO texts VALUES ('one')")
        with caplog.at_level(logging.WARNING), disk.lasting(errno.EIO):
            checkpoints.written()
            checkpoints.written()
        told = [record.message for record in caplog.records]
        assert texts_without_log(tmp_path, tmp_path / "copy.sqlite") == 0

        checkpoints.written()
        assert texts_without_log(tmp_path, tmp_path / "copy.sqlite") == 1
        checkpoints.stop()

    assert len(told) == 1
    assert "disk I/O error" in told[0]


def test_what_comes_after_a_pause_waits_a_second_too(tmp_path: Path) -> None:
    """The log was empty meanwhile, so nothing in it was old; who submits a job then has not to share the disk."""
    path, now, moved = tmp_path / "db.sqlite", [0.0], [0]

    @contextmanager
    def counted() -> Iterator[None]:
        moved[0] += 1
        yield

    with closing(connect(path, "process")) as writer:
        writer.execute("CREATE TABLE texts (text BLOB)")
        checkpoints = Checkpoints(
            path, connect(path, "process"), counted, log_bytes_max=0, clock=lambda: now[0]
        )
        checkpoints.start()
        seen = []
        for seconds in 100.0, 0.9 * AGE_SECONDS_MAX, 0.2 * AGE_SECONDS_MAX, 100.0, 0.9 * AGE_SECONDS_MAX:
            now[0] += seconds
            writer.execute("INSERT INTO texts VALUES ('one')")
            checkpoints.written()
            seen.append(moved[0])
        checkpoints.stop()

    assert seen == [0, 0, 1, 1, 1]


def test_what_is_copied_is_counted_anew_when_the_log_begins_anew(tmp_path: Path) -> None:
    """A step is what was added since, not what the log was larger before."""
    path = tmp_path / "db.sqlite"
    log = tmp_path / "db.sqlite-wal"
    moved: list[int] = []

    @contextmanager
    def counted() -> Iterator[None]:
        moved.append(log.stat().st_size)
        yield

    checkpoints = Checkpoints(
        path, sqlite3.connect(""), counted, step_bytes=10, log_bytes_max=10, clock=lambda: 0.0
    )
    checkpoints.start()
    for size in 100, 105, 3, 12, 13:
        log.write_bytes(bytes(size))
        checkpoints.written()
    checkpoints.stop()

    assert moved == [100, 13]


def test_writes_go_on_while_the_log_is_emptied(database: Database, tmp_path: Path, run: Run) -> None:
    """Of many writes at once, with checkpoints among them, each is answered and there."""

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(add_pieces(database, 2 * PIECE_BYTES))

    run(scenario())

    assert texts_in(tmp_path / "db.sqlite") == 100
