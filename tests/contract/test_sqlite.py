"""What the file store promises beyond the contract: it survives, and it fails as a whole or not at all."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app.domain.errors import Conflict, ServiceError, StorageFull
from app.domain.item import Block, View
from app.domain.job import Counts
from app.domain.store import Query, Replay, StoredFile
from app.stores.connection import Database, Write
from app.stores.payloads import Durability
from app.stores.sqlite import SqliteStore
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run
from tests.harm.full import fill, mounted

FILE = StoredFile("sha256-0", 3, "a.jpg", "image/jpeg", NOON)


@contextmanager
def opened(directory: Path, durability: Durability = "process") -> Iterator[SqliteStore]:
    store = SqliteStore(directory / "millpond.sqlite", durability)
    store.open()
    try:
        yield store
    finally:
        store.close()


def test_a_reopened_store_holds_what_it_held(tmp_path: Path, run: Run) -> None:
    """Jobs, items, results, files, keys: all of it, for a new process that finds the file."""
    log = Log()
    with opened(tmp_path) as store:
        run(store.create_job(a_job(), [a_block(0, 2), a_block(2, 1)], "key"))
        run(store.begin_upload("up"))
        run(store.add_blocks("up", [a_block()]))
        run(store.commit_upload("up", a_job("uploaded")))
        run(store.add_file(FILE))
        segments = [log.segment(1, [True]), log.segment(0, [False])]
        run(store.append_results(segments, [a_job(counts=Counts(3, **log.counts))], {"j": [FILE.id]}))

    with opened(tmp_path) as store:
        assert run(store.get_job("j")) == a_job(counts=Counts(3, succeeded=1, failed=1))
        assert [job.id for job in run(store.list_jobs(Query(9)))] == ["uploaded", "j"]
        assert run(store.read_block("j", 2)) == a_block(2, 1)
        assert run(store.read_block("uploaded", 2)) == a_block()
        assert run(store.done_ranges("j")) == [(0, 1), (1, 1)]
        page = run(store.read_results("j", View(), 0, lines_max=9, bytes_max=999, settled=False))
        assert page.lines == segments[0].lines + segments[1].lines
        assert run(store.replay("key")) == Replay("j", "00")
        assert run(store.get_file(FILE.id)) == FILE
        with pytest.raises(Conflict):
            run(store.delete_file(FILE.id))


def test_a_job_after_a_reopening_is_newer_than_all_before(tmp_path: Path, run: Run) -> None:
    """Also than those that were deleted: the order of lists never depends on what is gone."""
    with opened(tmp_path) as store:
        for job_id in ("a", "b"):
            run(store.create_job(a_job(job_id), [a_block()]))
        run(store.delete_job("b"))

    with opened(tmp_path) as store:
        run(store.create_job(a_job("0"), [a_block()]))
        assert [job.id for job in run(store.list_jobs(Query(9)))] == ["0", "a"]


def test_an_upload_without_a_commit_is_gone_after_a_reopening(tmp_path: Path, run: Run) -> None:
    """Its bytes too, once they are swept away, while committed items stay."""
    with opened(tmp_path) as store:
        run(store.create_job(a_job(), [a_block()]))
        run(store.begin_upload("up"))
        run(store.add_blocks("up", [Block(0, 1, b"1" * 100_000 + b"\n")]))

    with opened(tmp_path) as store:
        assert run(store.read_block("j", 0)) == a_block()
        run(store.begin_upload("up"))  # its name is free
        while run(store.sweep(1)):
            pass

    with sqlite3.connect(tmp_path / "millpond.sqlite") as connection:
        owners = connection.execute("SELECT count(DISTINCT owner), sum(length(lines)) FROM blocks").fetchone()
    connection.close()
    assert owners == (1, len(a_block().lines))


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path, run: Run) -> None:
    """An old Millpond on a new database says so, and the new one still finds everything."""
    with opened(tmp_path) as store:
        run(store.create_job(a_job(), [a_block()]))
    path = tmp_path / "millpond.sqlite"
    ours = set_version(path, 999)

    with pytest.raises(ServiceError, match="schema 999") as refusal, opened(tmp_path):
        pass

    assert "newer" in refusal.value.detail
    assert set_version(path, ours) == 999
    with opened(tmp_path) as store:
        assert run(store.get_job("j")) == a_job()


def set_version(path: Path, version: int) -> int:
    """Set the schema's version, and return what it was."""
    connection = sqlite3.connect(path)
    (before,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    assert isinstance(before, int)
    return before


def test_a_store_that_refuses_to_open_leaves_nothing_running(tmp_path: Path) -> None:
    """Neither its thread nor its connection outlives the refusal."""
    with opened(tmp_path):
        pass
    set_version(tmp_path / "millpond.sqlite", 999)
    before = threading.active_count()

    with pytest.raises(ServiceError), opened(tmp_path):
        pass

    assert threading.active_count() == before


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with one table of unique numbers."""
    database = Database(tmp_path / "db.sqlite", "process")
    database.open().execute("CREATE TABLE numbers (n INTEGER UNIQUE)")
    yield database
    database.close()


def adding(*numbers: int, failure: Exception | None = None) -> Write[int]:
    """A change that adds numbers, one by one, and may then fail."""

    def change(connection: sqlite3.Connection) -> int:
        for number in numbers:
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        if failure:
            raise failure
        return len(numbers)

    return change


async def numbers_of(database: Database) -> list[int]:
    rows = await database.read(
        lambda connection: connection.execute("SELECT n FROM numbers ORDER BY n").fetchall()
    )
    return [row["n"] for row in rows]


def test_a_write_that_fails_takes_no_other_with_it(database: Database, run: Run) -> None:
    """Of writes that are committed together, each is whole or not there, in the order they were asked for."""
    gate = threading.Event()

    async def scenario() -> list[int | BaseException]:
        held = asyncio.ensure_future(database.write(lambda _: gate.wait(10) and 0))
        writes = [
            asyncio.ensure_future(database.write(change))
            for change in (
                adding(1, 2),
                adding(3, 1),  # fails at the second number
                adding(4, failure=Conflict("no")),
                adding(5, failure=KeyError("our own mistake")),
                adding(3),
                adding(6),
            )
        ]
        await asyncio.sleep(0)  # the writes are in the queue, behind the one that waits
        gate.set()
        await held
        return await asyncio.gather(*writes, return_exceptions=True)

    outcomes = run(scenario())

    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        2, ServiceError, Conflict, KeyError, 1, 1
    ]  # fmt: skip
    assert run(numbers_of(database)) == [1, 2, 3, 6]


def test_a_write_is_seen_by_every_read_after_its_answer(database: Database, run: Run) -> None:
    """By whichever reader looks."""

    async def scenario() -> None:
        for number in range(50):
            await database.write(adding(number))
            for seen in await asyncio.gather(numbers_of(database), numbers_of(database)):
                assert seen == list(range(number + 1))

    run(scenario())


def test_a_close_waits_for_the_writes_before_it(tmp_path: Path, run: Run) -> None:
    """What was asked for is done, and answered."""
    database = Database(tmp_path / "db.sqlite", "process")
    database.open().execute("CREATE TABLE numbers (n INTEGER UNIQUE)")

    async def scenario() -> list[int]:
        writes = [asyncio.ensure_future(database.write(adding(number))) for number in range(1000)]
        await asyncio.sleep(0)
        database.close()
        return await asyncio.gather(*writes)

    assert run(scenario()) == [1] * 1000


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_durability_decides_whether_a_commit_waits_for_the_disk(
    tmp_path: Path, durability: Durability, level: int
) -> None:
    """`power` is SQLite's FULL, `process` its NORMAL; both write ahead."""
    database = Database(tmp_path / "db.sqlite", durability)
    writer = database.open()
    pragmas = [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    database.close()

    assert pragmas == [level, "wal"]


# -- A full disk


Mount = Callable[[int], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system of so many megabytes."""
    with ExitStack() as stack:
        yield lambda megabytes: stack.enter_context(mounted(tmp_path / "disk", megabytes))


def a_big_block(size: int) -> Block:
    return Block(0, 1, b"1" * size + b"\n")


def test_a_full_disk_changes_nothing_and_ends_when_there_is_space(small_disk: Mount, run: Run) -> None:
    """StorageFull for every write that needs space; reads go on; with space again, so do writes."""
    disk = small_disk(2)
    ballast = disk / "ballast"
    log = Log()
    segment = log.segment(0, [True, False], [100_000, 100_000])
    after = a_job(counts=Counts(3, **log.counts))
    with opened(disk) as store:
        run(store.create_job(a_job(), [a_block()], "key"))
        fill(ballast)

        with pytest.raises(StorageFull):
            run(store.create_job(a_job("big"), [a_big_block(200_000)], "other"))
        with pytest.raises(StorageFull):
            run(store.append_results([segment], [after], {"j": ["file"]}))

        assert run(store.get_job("j")) == a_job()
        assert run(store.read_block("j", 0)) == a_block()
        assert run(store.done_ranges("j")) == []
        assert run(store.replay("other")) is None
        assert [job.id for job in run(store.list_jobs(Query(9)))] == ["j"]
        ballast.unlink()
        run(store.append_results([segment], [after], {"j": ["file"]}))
        run(store.create_job(a_job("big"), [a_big_block(200_000)], "other"))

    with opened(disk) as store:
        assert run(store.get_job("j")) == after
        assert run(store.done_ranges("j")) == [(0, 2)]
        assert run(store.replay("other")) == Replay("big", "00")


@pytest.mark.parametrize("megabytes", [2, 6])
def test_what_was_answered_before_the_disk_was_full_is_there(
    small_disk: Mount, run: Run, megabytes: int
) -> None:
    """Whichever write, or checkpoint, meets the end of it.  A store on a full disk opens, broken uploads or not."""
    disk = small_disk(megabytes)
    answered: list[str] = []

    async def submit_until_full(store: SqliteStore) -> None:
        await store.begin_upload("up")
        await store.add_blocks("up", [a_big_block(9_000)])
        while True:
            job_id = f"j{len(answered)}"
            await store.create_job(a_job(job_id), [a_big_block(9_000)])
            answered.append(job_id)

    with opened(disk) as store:
        with pytest.raises(StorageFull):
            run(submit_until_full(store))
        assert len(answered) > 20
        assert [job.id for job in run(store.unfinished_jobs())] == answered

    with opened(disk) as store:
        assert [job.id for job in run(store.unfinished_jobs())] == answered
        assert run(store.read_block(answered[-1], 0)) == a_big_block(9_000)


def test_a_store_that_has_no_space_to_open_says_so(small_disk: Mount, run: Run) -> None:
    """StorageFull, not a riddle of SQLite's; with space again it opens with all it held."""
    disk = small_disk(2)
    with opened(disk) as store:
        run(store.create_job(a_job(), [a_block()]))
    fill(disk / "ballast")

    with pytest.raises(StorageFull), opened(disk):
        pass

    (disk / "ballast").unlink()
    with opened(disk) as store:
        assert run(store.get_job("j")) == a_job()


def test_a_file_that_is_no_database_is_refused_in_our_words(tmp_path: Path) -> None:
    """ServiceError, and the file stays as it is."""
    (tmp_path / "millpond.sqlite").write_bytes(b"my diary\n" * 1000)

    with pytest.raises(ServiceError, match="not a database"), opened(tmp_path):
        pass

    assert (tmp_path / "millpond.sqlite").read_bytes() == b"my diary\n" * 1000
