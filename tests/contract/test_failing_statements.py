"""Every call of the file store is made to fail at its first statement or write to disk, then at its second, and so on.

When it raises, nothing has changed; when it is made again, it does what it would have done.
"""

import errno
import inspect
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.domain.digest import Digest
from app.domain.errors import ServiceError, StorageFull, StorageUnavailable
from app.domain.item import Segment, View
from app.domain.job import Counts, Status
from app.domain.store import JobStore, Note, Query, StoredFile
from app.stores import checkpoints
from app.stores import connection as connections
from app.stores.sqlite import SqliteStore
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run
from tests.harm.disk import FOR_EVER, READS, WRITES, Fault

FILE = StoredFile("sha256-0", 3, "a.jpg", "image/jpeg", NOON)
OTHER = StoredFile("sha256-1", 3, None, "image/jpeg", NOON)
DONE = a_job("done", status=Status.COMPLETED, counts=Counts(3, succeeded=3), ended_at=NOON, expires_at=NOON)
LATER = NOON + timedelta(days=9)
INLINE_BYTES_MAX = 20
"""So blocks of three items have files, and those of one have none."""
POINTS_MAX = 60
"""More places to fail than any call has."""

Call = Callable[[JobStore], Coroutine[Any, Any, object]]


def the_rest() -> Segment:
    """What `_fill` leaves to be done of its job."""
    log = Log()
    log.segment(0, [False])
    return log.segment(1, [True, False])


CALLS: dict[str, Call] = {
    "create_job": lambda store: store.create_job(a_job("new"), [a_block(0, 2), a_block(2, 1)], "k", ["f"]),
    "begin_upload": lambda store: store.begin_upload("new"),
    "add_blocks": lambda store: store.add_blocks("up", [a_block(3, 1)], ["f"]),
    "commit_upload": lambda store: store.commit_upload("up", a_job("new"), "k"),
    "discard_upload": lambda store: store.discard_upload("up"),
    "replay": lambda store: store.replay("key"),
    "get_job": lambda store: store.get_job("j"),
    "list_jobs": lambda store: store.list_jobs(Query(9, text="j")),
    "count_jobs": lambda store: store.count_jobs(),
    "unfinished_jobs": lambda store: store.unfinished_jobs(),
    "save_job": lambda store: store.save_job(a_job(status=Status.RUNNING)),
    "append_items": lambda store: store.append_items("open", [a_block(3, 1), a_block(4, 2)], ["f"]),
    "delete_job": lambda store: store.delete_job("done"),
    "tombstone": lambda store: store.tombstone("gone"),
    "done_ranges": lambda store: store.done_ranges("j"),
    "segments_from": lambda store: store.segments_from("j", 0, "succeeded", bytes_max=999),
    "read_block": lambda store: store.read_block("j", 1),
    "read_blocks": lambda store: store.read_blocks("j", 1, bytes_max=999),
    "append_results": lambda store: store.append_results(
        [the_rest()], [a_job(counts=Counts(3, succeeded=2, failed=1))], {"j": ["f"]},
        [Note("j", 1, 1, NOON, log="x")], [Digest("j", failures=1)],
    ),
    "read_digest": lambda store: store.read_digest("j"),
    "read_result": lambda store: store.read_result("j", 0),
    "notes": lambda store: store.notes("j"),
    "read_results": lambda store: store.read_results(
        "j", View("index"), 0, lines_max=9, bytes_max=999, settled=True
    ),
    "extent": lambda store: store.extent("j", View("index", "succeeded"), 0, 9),
    "add_file": lambda store: store.add_file(OTHER),
    "get_file": lambda store: store.get_file(FILE.id),
    "strange_files": lambda store: store.strange_files([FILE.id, "unknown"], "etl"),
    "stored_bytes": lambda store: store.stored_bytes("etl"),
    "delete_file": lambda store: store.delete_file(FILE.id),
    "forget_files": lambda store: store.forget_files([FILE.id, "unknown"]),
    "expire_jobs": lambda store: store.expire_jobs(LATER, 9),
    "forget": lambda store: store.forget(tombstones_before=LATER, keys_before=LATER, rows_max=9),
    "sweep": lambda store: store.sweep(1),
}  # fmt: skip


def test_every_call_of_a_store_is_made_to_fail() -> None:
    """One that is added needs a line above."""
    methods = {
        name for name, _ in inspect.getmembers(JobStore, inspect.isfunction) if not name.startswith("_")
    }

    assert methods == set(CALLS)


async def _fill(store: SqliteStore) -> None:
    """Something of everything."""
    await store.create_job(a_job(), [a_block()], "key")
    segment = Log().segment(0, [False])
    note = Note("j", 0, 1, NOON, {"kind": "exception"})
    await store.append_results(
        [segment], [a_job(counts=Counts(3, succeeded=1))], {"j": ["other"]}, [note], [Digest("j")]
    )
    for job_id in ("swept", "gone"):
        await store.create_job(a_job(job_id, expires_at=NOON), [a_block()])
        await store.expire_jobs(NOON, 1)
    await store.create_job(DONE, [a_block()], "done")
    await store.create_job(a_job("open", sealed=False), [a_block()])
    await store.begin_upload("up")
    await store.add_blocks("up", [a_block()])
    await store.add_file(FILE)


@contextmanager
def filled(path: Path, run: Run) -> Iterator[SqliteStore]:
    path.parent.mkdir(exist_ok=True)
    store = SqliteStore(path, inline_bytes_max=INLINE_BYTES_MAX)
    store.open()
    run(_fill(store))
    yield store
    store.close()


def contents(path: Path) -> list[str]:
    """Everything in the database, as statements."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


class FailingConnection(sqlite3.Connection):
    """Fails a statement before it is run."""

    after = -1
    times = 0
    code = sqlite3.SQLITE_FULL

    @classmethod
    def begin(cls, after: int, times: int, code: int = sqlite3.SQLITE_FULL) -> None:
        cls.after, cls.times, cls.code = after, times, code

    @classmethod
    def _pass(cls) -> None:
        if cls.times <= 0:
            return
        if cls.after > 0:
            cls.after -= 1
            return
        cls.times -= 1
        error = sqlite3.OperationalError("refused")
        error.sqlite_errorcode = cls.code
        raise error

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._pass()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._pass()
        return super().executemany(*arguments)


@pytest.fixture(params=["statement", "write", "read"])
def begin(
    request: pytest.FixtureRequest, disk: Fault, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int, int], None]]:
    """Have what comes after so many statements, or system calls, fail so many times; nobody else makes any."""
    monkeypatch.setattr(connections, "QUIET_SECONDS", 3600)
    monkeypatch.setattr(checkpoints, "AGE_SECONDS_MAX", 3600)
    if request.param == "statement":
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=FailingConnection))
        yield FailingConnection.begin
        FailingConnection.begin(0, 0)
        return
    calls = WRITES if request.param == "write" else READS

    def fail(after: int, times: int) -> None:
        if times:
            disk.begin(errno.EIO, calls, after=after, times=times)
        else:
            disk.end()

    yield fail
    disk.end()


@pytest.mark.parametrize("times", [1, FOR_EVER], ids=["once", "for ever"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_changed_nothing_and_succeeds_when_made_again(
    tmp_path: Path, run: Run, begin: Callable[[int, int], None], name: str, times: int
) -> None:
    """Wherever it fails, once or until the cause is gone."""
    with filled(tmp_path / "expected" / "millpond.sqlite", run) as store:
        answer = run(CALLS[name](store))
    path = tmp_path / "millpond.sqlite"
    with filled(path, run) as store:
        before = contents(path)
        for point in range(POINTS_MAX):
            begin(point, times)
            found, error = run(outcome(CALLS[name](store)))
            _, again = run(outcome(CALLS[name](store))) if error and times == FOR_EVER else (None, error)
            begin(0, 0)
            if error is None:
                break
            assert again is not None
            assert isinstance(error, StorageFull | StorageUnavailable) or "damaged" in error.detail
            assert contents(path) == before, f"failing at {point} changed something"

    assert found == answer
    assert contents(path) == contents(tmp_path / "expected" / "millpond.sqlite")


async def outcome(call: Coroutine[Any, Any, object]) -> tuple[object, ServiceError | None]:
    try:
        return await call, None
    except ServiceError as error:
        return None, error


def test_a_writer_that_cannot_even_roll_back_opens_the_database_anew(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is given up, and the next write that can have one succeeds."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=FailingConnection))
    with filled(tmp_path / "millpond.sqlite", run) as store:
        before = contents(tmp_path / "millpond.sqlite")
        FailingConnection.begin(1, FOR_EVER)  # after BEGIN
        errors = [run(outcome(CALLS["create_job"](store)))[1] for _ in range(3)]
        FailingConnection.begin(0, 0)

        assert None not in errors
        assert contents(tmp_path / "millpond.sqlite") == before
        run(CALLS["create_job"](store))
        assert run(store.get_job("new")) is not None
