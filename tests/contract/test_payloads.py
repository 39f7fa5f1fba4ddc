"""Large payloads stand in files beside the database, and come and go with the rows that name them."""

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.errors import Conflict, ServiceError, StorageFull, StorageUnavailable
from app.domain.job import Counts
from app.stores import checkpoints, connection
from app.stores.backup import back_up
from app.stores.connection import Database
from app.stores.directory import DataDirectory
from app.stores.payloads import INLINE_BYTES_MAX
from app.stores.verification import verify
from tests.builders import Log, a_block, a_job
from tests.contract.conftest import Run
from tests.contract.large import (
    LARGE,
    LOSSES,
    a_large_block,
    append,
    everything,
    files,
    ids,
    opened,
    submit,
    sweep,
    the_file,
)
from tests.harm.disk import Fault
from tests.harm.full import fill, mounted


def test_only_large_payloads_have_a_file(tmp_path: Path, run: Run) -> None:
    """One for a job, with its items and its results; a small job has none, and is what it always was."""
    with opened(tmp_path) as store:
        run(submit(store, "small", a_large_block(size=INLINE_BYTES_MAX)))
        assert files(tmp_path) == {}
        run(submit(store, "large", a_large_block(), a_block(1, 2)))
        log = Log("large")
        run(append(store, log, 0))

        assert sum(files(tmp_path).values()) == LARGE + len(log.lines[0][2])
        assert len(files(tmp_path)) == 1
        assert run(store.read_block("large", 0)) == a_large_block()
        assert run(store.read_block("large", 1)) == a_block(1, 2)
        assert everything(run, store, "large") == log.lines[0][2]
    with opened(tmp_path) as store:
        assert run(store.read_block("large", 0)) == a_large_block()
        assert run(store.read_block("small", 0)) == a_large_block(size=INLINE_BYTES_MAX)


def test_payloads_count_as_used_space(tmp_path: Path, run: Run) -> None:
    """With the database."""
    with opened(tmp_path) as store:
        run(submit(store, "large", a_large_block()))

    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert run(DataDirectory(tmp_path).used()) == used > LARGE


def test_a_file_goes_with_its_job_or_upload(tmp_path: Path, run: Run) -> None:
    """Once it is swept away; others stay."""
    with opened(tmp_path) as store:
        for job_id in ("a", "b"):
            run(submit(store, job_id, a_large_block()))
        run(store.begin_upload("up"))
        run(store.add_blocks("up", [a_large_block()]))
        assert len(files(tmp_path)) == 3
        run(store.delete_job("a"))
        run(store.discard_upload("up"))
        assert run(store.read_block("a", 0)) is None

        sweep(run, store)

        assert len(files(tmp_path)) == 1
        assert run(store.read_block("b", 0)) == a_large_block()


def test_files_of_the_dead_that_are_gone_before_their_rows_are_no_loss(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk they go first; a kill then takes nothing of others."""
    monkeypatch.setattr(connection, "QUIET_SECONDS", 3600)
    monkeypatch.setattr(checkpoints, "AGE_SECONDS_MAX", 3600)
    with opened(tmp_path / "data") as store:
        run(submit(store, "dead", a_large_block()))
        run(store.delete_job("dead"))
        run(submit(store, "later", a_block()))
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    the_file(tmp_path / "copy").unlink()

    with opened(tmp_path / "copy") as store:
        assert ids(run, store) == {"later"}
        sweep(run, store)
    assert verify(tmp_path / "copy").problems == []


def test_what_a_crash_left_in_the_directory_is_harmless(tmp_path: Path, run: Run) -> None:
    """A file of nobody is removed at the start; what stands behind a job's last payload is never read."""
    with opened(tmp_path) as store:
        run(submit(store, "j", a_large_block()))
    with the_file(tmp_path).open("ab") as file:
        file.write(b"a part of what was never committed")
    (tmp_path / "payloads" / "999").write_bytes(b"x")

    with opened(tmp_path) as store:
        assert list(files(tmp_path)) == [the_file(tmp_path).name] != ["999"]
        log = Log("j")
        run(append(store, log, 0))
        assert run(store.read_block("j", 0)) == a_large_block()
        assert everything(run, store, "j") == log.lines[0][2]
    assert verify(tmp_path).problems == []


def test_a_change_that_fails_takes_its_payloads_with_it(tmp_path: Path, run: Run) -> None:
    """And no other's, though they are committed together."""
    gate = threading.Event()
    database = Database(tmp_path / "db.sqlite", "process")
    database.open().execute("CREATE TABLE owners (id INTEGER, loose INTEGER)")

    def adding(owner: int, letter: bytes, failure: Exception | None = None) -> Callable[[object], int | None]:
        def change(_: object) -> int | None:
            _, place, _, _ = database.payloads.add(owner, letter * LARGE)
            if failure:
                raise failure
            return place

        return change

    async def scenario() -> list[int | BaseException | None]:
        held = asyncio.ensure_future(database.write(lambda _: gate.wait(10) and 0))
        writes = [
            asyncio.ensure_future(database.write(change))
            for change in (
                adding(1, b"a"),
                adding(1, b"b", Conflict("no")),
                adding(2, b"c", KeyError("our own mistake")),
                adding(1, b"d"),
            )
        ]
        await asyncio.sleep(0)  # the writes are in the queue, behind the one that waits
        gate.set()
        await held
        return await asyncio.gather(*writes, return_exceptions=True)

    places = run(scenario())
    database.close()

    assert [place if isinstance(place, int) else type(place) for place in places] == [
        0,
        Conflict,
        KeyError,
        LARGE,
    ]
    assert files(tmp_path) == {"1": 2 * LARGE}
    assert the_file(tmp_path).read_bytes() == b"a" * LARGE + b"d" * LARGE


@pytest.mark.parametrize(
    ("error", "failure"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageUnavailable)],
)
def test_what_keeps_a_payload_from_its_file_is_told(
    tmp_path: Path, run: Run, disk: Fault, error: int, failure: type[ServiceError]
) -> None:
    """Also where the disk as a whole seems to have space: it may be the service's share of it that is used up."""
    with opened(tmp_path) as store:
        with disk.lasting(error), pytest.raises(failure):
            run(submit(store, "j", a_large_block()))
        assert (ids(run, store), files(tmp_path)) == (set(), {})


def test_a_payload_that_does_not_fit_leaves_nothing(tmp_path: Path, run: Run) -> None:
    """StorageFull, and not even the part of it that there was room for; with space again it is stored."""
    log = Log("j")
    with mounted(tmp_path / "disk", 3) as disk:
        with opened(disk) as store:
            run(submit(store, "j", a_large_block(), a_block(1, 2)))
            before = files(disk)
            fill(disk / "ballast")
            os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - (300 << 10))

            for call in (
                submit(store, "big", a_large_block(size=1 << 20)),
                append(store, Log("j"), 0, 1 << 20),
            ):
                with pytest.raises(StorageFull):
                    run(call)

            assert files(disk) == before
            assert ids(run, store) == {"j"}
            (disk / "ballast").unlink()
            run(append(store, log, 0, 1 << 20))
            assert everything(run, store, "j") == log.lines[0][2]
        assert verify(disk).problems == []


def test_a_reader_of_a_job_that_is_swept_away_finds_it_gone(tmp_path: Path, run: Run) -> None:
    """Rather than damaged: it looks again, and there is no such row."""
    database = Database(tmp_path / "db.sqlite", "process")
    database.open().executescript(
        "CREATE TABLE owners (id INTEGER, loose INTEGER); CREATE TABLE blocks (owner, lines, place, size, checksum)"
    )

    def change(writer: sqlite3.Connection) -> None:
        row = (1, *database.payloads.add(1, b"1" * LARGE))
        writer.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", row)

    def look(reader: sqlite3.Connection) -> bytes | None:
        row = reader.execute("SELECT * FROM blocks").fetchone()
        if row is None:
            return None
        with closing(connection.connect(tmp_path / "db.sqlite", "process")) as other:
            other.execute("DELETE FROM blocks")
        database.payloads.remove(1)
        return database.payloads.lines(row)

    run(database.write(change))
    assert run(database.read(look)) is None
    database.close()


# -- Check and backup


@pytest.mark.parametrize("lose", LOSSES)
def test_a_check_finds_a_payload_that_is_not_whole(
    tmp_path: Path, run: Run, lose: Callable[[Path], None]
) -> None:
    """Of items and of results."""
    with opened(tmp_path) as store:
        run(submit(store, "j", a_large_block(), a_block(1, 2)))
        run(append(store, Log("j"), 0))
    assert verify(tmp_path).problems == []

    lose(the_file(tmp_path))

    found = "job j: the payload of the results from 0 on is not whole"
    assert found in verify(tmp_path).problems


def test_a_job_that_is_swept_away_during_a_check_is_no_problem(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check sees its rows, in the state that it reads, and no file."""
    real = os.open
    with opened(tmp_path) as store:
        run(submit(store, "j", a_large_block()))

        def open_later(path: Path, *arguments: int) -> int:
            if path.parent.name == "payloads" and path.exists():
                run(store.delete_job("j"))
                sweep(run, store)
            return real(path, *arguments)

        monkeypatch.setattr(os, "open", open_later)
        report = verify(tmp_path)

    assert (report.problems, report.jobs) == ([], 1)
    assert files(tmp_path) == {}


def test_a_backup_is_whole_while_jobs_run(tmp_path: Path, run: Run) -> None:
    """Whatever was appended meanwhile."""
    target = tmp_path / "backup"
    with opened(tmp_path / "data") as store:
        log = Log("j")
        run(submit(store, "j", *(a_large_block(first) for first in range(200))))

        async def scenario() -> None:
            copying = asyncio.create_task(asyncio.to_thread(back_up, tmp_path / "data", target))
            first = 0
            while first < 200 and not (first and copying.done()):
                segment = log.segment(first, [False], [LARGE])
                job = a_job("j", total=200, counts=Counts(200, **log.counts))
                await store.append_results([segment], [job], {})
                first += 1
            await copying

        run(scenario())
        whole = everything(run, store, "j")

    assert verify(target).problems == []
    with opened(target) as store:
        assert run(store.read_block("j", 199)) == a_large_block(199)
        assert whole.startswith(everything(run, store, "j"))


def test_a_job_that_is_swept_away_during_a_backup_is_not_in_it(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are."""
    target = tmp_path / "backup"
    real = shutil.copyfile
    with opened(tmp_path / "data") as store:
        for job_id in ("a", "b"):
            run(submit(store, job_id, a_large_block()))

        def copy_later(source: Path, copy: Path) -> Path:
            if source.name == "1":
                run(store.delete_job("a"))
                sweep(run, store)
            return real(source, copy)

        monkeypatch.setattr(shutil, "copyfile", copy_later)
        back_up(tmp_path / "data", target)

    assert verify(target).problems == []
    with opened(target) as store:
        assert ids(run, store) == {"b"}
        assert run(store.read_block("b", 0)) == a_large_block()
