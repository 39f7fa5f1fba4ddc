"""`check` finds each kind of damage, and nothing where there is none."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.domain.digest import Digest
from app.domain.errors import ServiceError
from app.domain.job import Counts, Status
from app.domain.store import StoredFile
from app.stores.backup import back_up
from app.stores.sqlite import SqliteStore
from app.stores.verification import RULES, Report, verify
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run

CONTENT = b"content"
FILE = "sha256-" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def directory(tmp_path: Path, run: Run) -> Path:
    """A data directory with something of everything."""
    place = tmp_path / "data"
    place.mkdir()
    store = SqliteStore(place / "millpond.sqlite")
    store.open()
    run(_fill(store))
    store.close()
    path = place / "files" / FILE[7:9] / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return place


async def _fill(store: SqliteStore) -> None:
    log = Log("done")
    await store.create_job(a_job("done", total=4), [a_block(0, 2), a_block(2, 2)], "key", [FILE])
    segments = [log.segment(2, [True, False]), log.segment(0, [False, False])]
    done = a_job("done", total=4, status=Status.COMPLETED, counts=Counts(4, **log.counts))
    done = replace(done, started_at=NOON, ended_at=NOON, expires_at=NOON)
    await store.append_results(segments, [done], {"done": [FILE]}, digests=[Digest("done", failures=1)])
    log = Log("half")
    await store.create_job(a_job("half"), [a_block()])
    running = a_job("half", status=Status.RUNNING, counts=Counts(3, succeeded=1), started_at=NOON)
    await store.append_results([log.segment(1, [False])], [running], {})
    cancelled = a_job("cancelled", status=Status.CANCELLED, counts=Counts(3, cancelled=3))
    await store.create_job(replace(cancelled, ended_at=NOON, expires_at=NOON), [a_block()])
    await store.create_job(a_job("empty", total=0), [])
    for job_id in ("deleted", "sweeping"):
        await store.create_job(a_job(job_id), [a_block(0, 1), a_block(1, 1), a_block(2, 1)])
        await store.delete_job(job_id)
    await store.sweep(1)
    await store.begin_upload("up")
    await store.add_blocks("up", [a_block()])
    await store.add_file(StoredFile(FILE, len(CONTENT), "a.jpg", "image/jpeg", NOON))


def test_what_is_right_has_no_problems(directory: Path) -> None:
    """Finished, unfinished, cancelled, empty, deleted, swept in part, uploading: all as it should be."""
    for quick in (False, True):
        assert verify(directory, quick=quick) == Report(jobs=4, items=10, results=5, files=1, problems=[])


def sql(*statements: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        with closing(sqlite3.connect(directory / "millpond.sqlite")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return damage


def stored(directory: Path) -> Path:
    return directory / "files" / FILE[7:9] / FILE


DONE = "(SELECT owner FROM jobs WHERE id = 'done')"


def content(text: bytes) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        stored(directory).write_bytes(text)

    return damage


def misplace(directory: Path) -> None:
    (directory / "files" / "zz").mkdir()
    (directory / "files" / "zz" / "x").write_bytes(b"x")


def line(old: str, new: str) -> Callable[[Path], None]:
    """Change what the first segment's lines say."""
    changed = f"CAST(replace(CAST(lines AS TEXT), '{old}', '{new}') AS BLOB)"
    return sql(f"UPDATE segments SET lines = {changed} WHERE id = (SELECT min(id) FROM segments)")


def job(change: str, job_id: str = "done") -> Callable[[Path], None]:
    return sql(f"UPDATE jobs SET {change} WHERE id = '{job_id}'")


def segment(change: str, first: int) -> Callable[[Path], None]:
    return sql(f"UPDATE segments SET {change} WHERE owner = {DONE} AND first = {first}")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an item less": (job("total = 5, cancelled = 1, status = 'failed'"), "4 items of 5"),
    "an end that is none": (job("cancelled = 2", "cancelled"), "2 of its 3 items"),
    "completed with a rest": (job("status = 'completed'", "cancelled"), "3 items were cancelled"),
    "no end": (job("ended_at = NULL, expires_at = NULL"), "job done: it is completed"),
    "an end that is open": (job("sealed = 0"), "job done: it is completed, and could get more items"),
    "a start that was none": (job("status = 'running', started_at = NULL", "half"), "half: it is running"),
    "an end too early": (job("ended_at = '2001'"), "in no order"),
    "never to expire": (job("expires_at = NULL"), "expires_at None"),
    "a wrong count": (job("succeeded = 2", "half"), "job half: it counts 2 succeeded"),
    "a digest of other failures": (
        sql("DELETE FROM digests"),
        "job done: its digest knows 0 of its 1 failures",
    ),
    "a lost segment": (
        sql(f"DELETE FROM segments WHERE owner = {DONE} AND first = 0"),
        "its log holds 2 results",
    ),
    "a lost block": (
        sql(f"DELETE FROM blocks WHERE owner = {DONE} AND first = 0"),
        "items from 2 on do not follow",
    ),
    "two results of an item": (segment("first = 1", 2), "from 1 on overlap those before 2"),
    "a result of no item": (segment("first = 3", 2), "are of no item"),
    "a place in the log": (segment("done_before = 1", 0), "stand at 1, 1 of the log instead of 2, 1"),
    "a failure's place": (segment("failed_before = 0", 0), "stand at 2, 0 of the log instead of 2, 1"),
    "a dead owner": (sql(f"UPDATE owners SET dead = 1 WHERE id = {DONE}"), "is not there, is dead"),
    "a shared owner": (job(f"owner = {DONE}", "empty"), "or is another job's too"),
    "an owner of nothing": (sql("INSERT INTO owners DEFAULT VALUES"), "neither a job's"),
    "rows of nobody": (sql("INSERT INTO notes VALUES (999, 0, 1, '', NULL, NULL, 0)"), "1 rows of notes"),
    "a line of items": (
        sql("UPDATE blocks SET lines = x'310a' WHERE first = 2"),
        "items from 2 on has not 2 lines",
    ),
    "a line of results": (segment("lines = x'310a'", 0), "results from 0 on have not 2 lines"),
    "an outcome": (line("error", "other"), "have not 1 failures"),
    "an index": (line(":3,", ":7,"), "the line of item 3 is not its result"),
    "a torn line": (line('""', '"'), "is not its result"),
    "a lost file": (lambda directory: stored(directory).unlink(), f"file {FILE}: it is not there"),
    "a cut file": (content(b"cont"), "has 4 bytes instead of 7"),
    "another content": (content(b"CONTENT"), "its content is another"),
    "a file elsewhere": (misplace, "no business there"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_found(directory: Path, name: str) -> None:
    """And told in words that name the place."""
    damage, told = DAMAGES[name]
    damage(directory)

    report = verify(directory)

    assert any(told in problem for problem in report.problems), report.problems


def test_every_rule_is_broken_by_some_damage(directory: Path, tmp_path: Path) -> None:
    """A rule that nothing breaks would not be seen to be wrong."""
    broken: set[str] = set()
    for number, (damage, _) in enumerate(DAMAGES.values()):
        place = tmp_path / str(number)
        back_up(directory, place)
        damage(place)
        for problem in verify(place).problems:
            broken |= {rule for rule in RULES if _could_say(rule, problem)}

    assert broken == set(RULES)


def _could_say(rule: str, problem: str) -> bool:
    return all(part in problem for part in rule.split("{}"))


def test_a_torn_database_is_told(directory: Path) -> None:
    """Rather than an exception."""
    path = directory / "millpond.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * 4096 + whole[12288:])

    report = verify(directory)

    assert any("database" in problem for problem in report.problems)


@pytest.mark.parametrize("version", [1, 999])
def test_another_schema_is_not_judged(directory: Path, version: int) -> None:
    """What an older or newer Millpond left is not damaged."""
    sql(f"PRAGMA user_version = {version}")(directory)

    with pytest.raises(ServiceError, match=f"schema {version}"):
        verify(directory)


# -- Backup


def test_a_backup_is_a_whole_data_directory(directory: Path, tmp_path: Path, run: Run) -> None:
    """It can be checked and served, and holds what the original does."""
    target = tmp_path / "backup"

    assert back_up(directory, target) > 0

    assert verify(target) == verify(directory)
    store = SqliteStore(target / "millpond.sqlite")
    store.open()
    job = run(store.get_job("done"))
    store.close()
    assert job is not None
    assert job.counts == Counts(4, succeeded=3, failed=1)
    assert stored(target).read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


def test_a_backup_overwrites_nothing(directory: Path, tmp_path: Path) -> None:
    """A target that is not empty is refused; an empty directory will do."""
    for place in (directory, tmp_path):
        with pytest.raises(ServiceError, match="is there already"):
            back_up(directory, place)
    (tmp_path / "empty").mkdir()

    back_up(directory, tmp_path / "empty")

    assert verify(tmp_path / "empty").problems == []


def test_a_backup_that_fails_leaves_nothing(directory: Path, tmp_path: Path) -> None:
    """Not even a part under another name."""
    (directory / "millpond.sqlite").write_bytes(b"no database" * 1000)

    with pytest.raises(ServiceError, match="could not be written"):
        back_up(directory, tmp_path / "backup")

    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_there_must_be_something_to_check_or_copy(tmp_path: Path) -> None:
    """A directory that was misspelt is told."""
    with pytest.raises(ServiceError, match="holds no Millpond"):
        verify(tmp_path)
    with pytest.raises(ServiceError, match="holds no Millpond"):
        back_up(tmp_path, tmp_path / "backup")
