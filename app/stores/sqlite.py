"""Jobs, items and results in one SQLite file (WAL mode), and large payloads beside it (payloads).

Invariant: a job's segments do not overlap, and its counts are what its segments hold.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from app.domain.digest import Digest
from app.domain.errors import Conflict, StorageFull
from app.domain.item import Block, Outcome, Page, Segment, View
from app.domain.job import FINISHED, Job, Status
from app.domain.store import Extent, Note, Query, Replay, StoredFile, Tombstone
from app.stores import files, housekeeping
from app.stores.connection import Database
from app.stores.payloads import INLINE_BYTES_MAX, Durability
from app.stores.reading import (
    done_ranges,
    extent,
    read_block,
    read_blocks,
    read_page,
    read_result,
    segments_from,
)
from app.stores.rows import (
    FILE_COLUMNS,
    changing_to_row,
    file_to_row,
    row_to_digest,
    row_to_file,
    row_to_job,
    row_to_note,
    row_to_tombstone,
)
from app.stores.schema import migrate
from app.stores.writing import OWNER, UPDATE_JOB, append, insert_blocks, insert_job, owner_of

_UNFINISHED = [str(status) for status in Status if status not in FINISHED]


_PLACE = """coalesce(
    (SELECT seq FROM jobs WHERE id = :cursor_id AND created_at = :cursor_at),
    (SELECT seq + 1 FROM jobs WHERE created_at <= :cursor_at ORDER BY seq DESC LIMIT 1),
    0)"""
"""Of a job that is gone, its place is before those that are no newer than it was."""


class SqliteStore:
    """A `JobStore` in a file; one process at a time."""

    def __init__(
        self,
        path: Path,
        durability: Durability = "process",
        on_commit: Callable[[float], None] = lambda _: None,
        inline_bytes_max: int = INLINE_BYTES_MAX,
        on_read: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = Database(path, durability, on_commit, inline_bytes_max, on_read)
        self._payloads = self._database.payloads

    def open(self) -> None:
        """Open the file, bring its schema up to date, and forget uploads that never became jobs.

        ServiceError if that cannot be done; then nothing is left open.
        """
        connection = self._database.open()
        try:
            migrate(connection)
            self._forget_uploads(connection)
            self._forget_payloads(connection)
        except (sqlite3.Error, OSError) as error:
            self._database.close()
            raise self._database.translated(error) from error
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def _forget_uploads(self, connection: sqlite3.Connection) -> None:
        """Drop what belongs to no job.  On a full disk it stays, seen by nobody, until the next start."""
        try:
            connection.execute("UPDATE owners SET dead = 1, upload = NULL WHERE upload IS NOT NULL")
        except sqlite3.OperationalError as error:
            if not isinstance(self._database.translated(error), StorageFull):
                raise

    def _forget_payloads(self, connection: sqlite3.Connection) -> None:
        """Remove what a crash left of owners that never were, or are no more."""
        for owner in self._payloads.owners():
            if not connection.execute("SELECT 1 FROM owners WHERE id = ?", (owner,)).fetchone():
                self._payloads.remove(owner)

    # -- Submitting

    async def create_job(
        self, job: Job, blocks: Sequence[Block], idempotency_key: str | None = None, files: Sequence[str] = ()
    ) -> None:
        def change(connection: sqlite3.Connection) -> None:
            owner = connection.execute("INSERT INTO owners DEFAULT VALUES").lastrowid
            assert owner is not None
            insert_job(connection, job, owner, idempotency_key)
            insert_blocks(connection, self._payloads, owner, blocks, files)

        await self._database.write(change)

    async def begin_upload(self, upload: str) -> None:
        await self._execute("INSERT INTO owners (upload) VALUES (?)", (upload,))

    async def add_blocks(self, upload: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        await self._database.write(
            lambda connection: insert_blocks(
                connection, self._payloads, owner_of(connection, upload), blocks, files
            )
        )

    async def commit_upload(self, upload: str, job: Job, idempotency_key: str | None = None) -> None:
        def change(connection: sqlite3.Connection) -> None:
            owner = owner_of(connection, upload)
            insert_job(connection, job, owner, idempotency_key)
            connection.execute("UPDATE owners SET upload = NULL WHERE id = ?", (owner,))

        await self._database.write(change)

    async def discard_upload(self, upload: str) -> None:
        await self._execute("UPDATE owners SET dead = 1, upload = NULL WHERE upload = ?", (upload,))

    async def replay(self, idempotency_key: str) -> Replay | None:
        rows = await self._rows(
            "SELECT job_id, fingerprint FROM idempotency WHERE key = ?", (idempotency_key,)
        )
        return Replay(rows[0]["job_id"], rows[0]["fingerprint"]) if rows else None

    # -- Jobs

    async def get_job(self, job_id: str) -> Job | None:
        rows = await self._rows("SELECT * FROM jobs WHERE id = ?", (job_id,))
        return row_to_job(rows[0]) if rows else None

    async def list_jobs(self, query: Query) -> list[Job]:
        conditions = {
            "status = :status": query.status,
            "task = :task": query.task,
            "submitted_by = :submitted_by": query.submitted_by,
            "(instr(id, :text) OR instr(lower(coalesce(label, '')), lower(:text)))": query.text,
            f"seq < {_PLACE}": query.cursor,
        }
        where = " AND ".join(text for text, value in conditions.items() if value is not None) or "1"
        return await self._jobs(
            f"SELECT * FROM jobs WHERE {where} ORDER BY seq DESC LIMIT :limit",
            {
                "status": query.status and str(query.status),
                "task": query.task,
                "submitted_by": query.submitted_by,
                "text": query.text,
                "cursor_id": query.cursor and query.cursor.job_id,
                "cursor_at": query.cursor and query.cursor.created_at.isoformat(),
                "limit": query.limit,
            },
        )

    async def count_jobs(self) -> Mapping[Status, int]:
        rows = await self._rows("SELECT status, count(*) AS number FROM jobs GROUP BY status")
        return {Status(row["status"]): row["number"] for row in rows}

    async def unfinished_jobs(self) -> list[Job]:
        marks = ", ".join("?" * len(_UNFINISHED))
        return await self._jobs(f"SELECT * FROM jobs WHERE status IN ({marks}) ORDER BY seq", _UNFINISHED)

    async def save_job(self, job: Job) -> None:
        await self._execute(UPDATE_JOB, (*changing_to_row(job), job.id))

    async def append_items(self, job_id: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        def change(connection: sqlite3.Connection) -> None:
            grown = connection.execute(
                "UPDATE jobs SET total = ? WHERE id = ? AND total = ? AND NOT sealed AND ended_at IS NULL"
                " RETURNING owner",
                (blocks[-1].stop, job_id, blocks[0].first),
            ).fetchall()
            if not grown:
                raise Conflict(f"Job {job_id!r} takes no items from {blocks[0].first} on.")
            insert_blocks(connection, self._payloads, grown[0]["owner"], blocks, files)

        await self._database.write(change)

    async def delete_job(self, job_id: str) -> None:
        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tombstones WHERE job_id = ?", (job_id,))
            owners = connection.execute("DELETE FROM jobs WHERE id = ? RETURNING owner", (job_id,)).fetchall()
            housekeeping.bury(connection, [row["owner"] for row in owners])

        await self._database.write(change)

    async def tombstone(self, job_id: str) -> Tombstone | None:
        rows = await self._rows("SELECT * FROM tombstones WHERE job_id = ?", (job_id,))
        return row_to_tombstone(rows[0]) if rows else None

    # -- Items and results

    async def done_ranges(
        self, job_id: str, index: int = 0, ranges_max: int | None = None
    ) -> list[tuple[int, int]]:
        return await self._database.read(
            lambda connection: done_ranges(connection, job_id, index, ranges_max)
        )

    async def segments_from(
        self, job_id: str, index: int, outcome: Outcome, *, bytes_max: int
    ) -> list[Segment]:
        return await self._database.read(
            lambda connection: segments_from(connection, self._payloads, job_id, index, outcome, bytes_max)
        )

    async def read_block(self, job_id: str, index: int) -> Block | None:
        return await self._database.read(
            lambda connection: read_block(connection, self._payloads, job_id, index)
        )

    async def read_blocks(self, job_id: str, index: int, *, bytes_max: int) -> list[Block]:
        return await self._database.read(
            lambda connection: read_blocks(connection, self._payloads, job_id, index, bytes_max)
        )

    async def append_results(
        self,
        segments: Sequence[Segment],
        jobs: Sequence[Job],
        files: Mapping[str, Sequence[str]],
        notes: Sequence[Note] = (),
        digests: Sequence[Digest] = (),
    ) -> None:
        await self._database.write(
            lambda connection: append(connection, self._payloads, segments, jobs, files, notes, digests)
        )

    async def read_digest(self, job_id: str) -> Digest | None:
        rows = await self._rows(f"SELECT digest FROM digests WHERE owner = {OWNER}", (job_id,))
        return row_to_digest(job_id, rows[0]) if rows else None

    async def read_result(self, job_id: str, index: int) -> bytes | None:
        return await self._database.read(
            lambda connection: read_result(connection, self._payloads, job_id, index)
        )

    async def notes(self, job_id: str, index: int | None = None) -> list[Note]:
        where = f"owner = {OWNER}" if index is None else f"owner = {OWNER} AND item = ?"
        statement = f"SELECT * FROM notes WHERE {where} ORDER BY item, rowid"
        values = (job_id,) if index is None else (job_id, index)
        return await self._database.read(
            lambda connection: [row_to_note(job_id, row) for row in connection.execute(statement, values)]
        )

    async def read_results(
        self, job_id: str, view: View, after: int, *, lines_max: int, bytes_max: int, settled: bool
    ) -> Page:
        return await self._database.read(
            lambda connection: read_page(
                connection,
                self._payloads,
                job_id,
                view,
                after,
                lines_max=lines_max,
                bytes_max=bytes_max,
                settled=settled,
            )
        )

    async def extent(self, job_id: str, view: View, after: int, offset: int) -> Extent:
        return await self._database.read(
            lambda connection: extent(connection, self._payloads, job_id, view, after, offset)
        )

    # -- Files

    async def add_file(self, file: StoredFile) -> None:
        await self._execute(
            f"INSERT OR IGNORE INTO files ({', '.join(FILE_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)",
            file_to_row(file),
        )

    async def get_file(self, file_id: str, uploaded_by: str | None = None) -> StoredFile | None:
        rows = await self._rows(
            "SELECT * FROM files WHERE id = ? AND uploaded_by = coalesce(?, uploaded_by) ORDER BY created_at LIMIT 1",
            (file_id, uploaded_by),
        )
        return row_to_file(rows[0]) if rows else None

    async def strange_files(self, file_ids: Sequence[str], caller: str) -> list[str]:
        return await self._database.read(lambda connection: files.strange(connection, file_ids, caller))

    async def stored_bytes(self, caller: str) -> int:
        return await self._database.read(lambda connection: files.stored_bytes(connection, caller))

    async def delete_file(self, file_id: str, uploaded_by: str | None = None) -> bool:
        return await self._database.write(lambda connection: files.delete(connection, file_id, uploaded_by))

    async def forget_files(self, file_ids: Sequence[str]) -> list[str]:
        return await self._database.write(lambda connection: files.forget(connection, file_ids))

    # -- Keeping house

    async def expire_jobs(self, now: datetime, jobs_max: int) -> list[str]:
        return await self._database.write(
            lambda connection: housekeeping.expire_jobs(connection, now, jobs_max)
        )

    async def forget(self, *, tombstones_before: datetime, keys_before: datetime, rows_max: int) -> int:
        return await self._database.write(
            lambda connection: housekeeping.forget(connection, tombstones_before, keys_before, rows_max)
        )

    async def sweep(self, bytes_max: int) -> bool:
        while True:
            try:
                more, owner = await self._database.write(
                    lambda connection: housekeeping.sweep(connection, bytes_max)
                )
                break
            except StorageFull:
                # To delete rows takes room, in the log; to remove what is nobody's any more makes some.
                if not await self._database.read(self._remove_of_dead):
                    raise
        if owner is not None:
            await self._database.remove_payloads(owner)
        return more

    def _remove_of_dead(self, connection: sqlite3.Connection) -> bool:
        """Remove the payloads of a dead owner that has some, before its rows; whether there was one."""
        for (owner,) in connection.execute("SELECT id FROM owners WHERE dead"):
            if self._payloads.exist(owner):
                self._payloads.remove(owner)
                return True
        return False

    async def _execute(self, statement: str, values: Sequence[object] | Mapping[str, object]) -> None:
        await self._database.write(lambda connection: connection.execute(statement, values) and None)

    async def _jobs(self, statement: str, values: Sequence[object] | Mapping[str, object]) -> list[Job]:
        """The jobs of these rows.  They may be many: the reader makes them of what it reads, not the event loop."""
        return await self._database.read(
            lambda connection: [row_to_job(row) for row in connection.execute(statement, values)]
        )

    async def _rows(
        self, statement: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[sqlite3.Row]:
        return await self._database.read(lambda connection: connection.execute(statement, values).fetchall())
