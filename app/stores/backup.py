"""A consistent copy of a data directory, while a service serves it.

How it works: files are immutable and named by their content, so they are copied as they are; the database is copied
in one read transaction, which holds up no writer; then come the files that were stored meanwhile.  A file that the
copied database names was there when the first pass or the second one came by, unless it was let go in between, and
that happens only to what no job names.  Payload files only grow, so they are copied after the database, which names
what is in them by then; a job whose payloads were swept away meanwhile is deleted in the copy, too.

Invariant: a directory that has the target's name is a whole copy.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from app.domain.errors import ServiceError, StorageFull
from app.stores import housekeeping, payloads
from app.stores.directory import files_in
from app.stores.names import sync_directory

DATABASE = "millpond.sqlite"


def back_up(source: Path, target: Path) -> int:
    """Write the copy; its size in bytes.

    ServiceError if there is nothing to copy or the target is there already, StorageFull if it does not fit; then
    nothing is left of it.
    """
    if not (source / DATABASE).is_file():
        raise ServiceError(f"{source} holds no Millpond: there is no {DATABASE} in it.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ServiceError(f"{target} is there already; name a directory that is not.")
    part = target.with_name(f".{target.name}.partial-{os.getpid()}")
    part.mkdir(parents=True)
    try:
        _copy_files(source, part)
        _copy_database(source / DATABASE, part / DATABASE)
        _copy_files(source, part)
        _copy_payloads(source, part)
        _flush(part)
        part.replace(target)
        sync_directory(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageFull(f"The backup could not be written to {target}: {error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _copy_database(source: Path, target: Path) -> None:
    """All of it in one step, which is one transaction; `VACUUM INTO` leaves out what is free."""
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def _copy_payloads(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(target / DATABASE)) as connection, connection:
        owners = [owner for (owner,) in connection.execute(payloads.OWNERS)]
        (target / payloads.DIRECTORY).mkdir()
        gone = []
        for owner in owners:
            place = Path(payloads.DIRECTORY, str(owner))
            try:
                shutil.copyfile(source / place, target / place)
            except FileNotFoundError:
                gone.append(owner)
        connection.executemany("DELETE FROM jobs WHERE owner = ?", [(owner,) for owner in gone])
        housekeeping.bury(connection, gone)


def _copy_files(source: Path, target: Path) -> None:
    """Those that are not there yet."""
    for place in sorted((source / "files").glob("??")):
        copies = target / "files" / place.name
        copies.mkdir(parents=True, exist_ok=True)
        for entry in files_in(place):
            if not (copies / entry.name).exists():
                try:
                    shutil.copy2(entry.path, copies / entry.name)
                except FileNotFoundError:
                    continue  # it was let go right now


def _flush(directory: Path) -> None:
    """See to it that the copy is on the disk before it has its name."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_directory(path)
    sync_directory(directory)
