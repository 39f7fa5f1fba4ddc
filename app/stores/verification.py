"""Whether a data directory is what it should be.

Reads one state of the database, whether a service serves it or not, and changes nothing.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.domain.errors import ServiceError
from app.domain.item import is_failure
from app.stores.directory import files_in
from app.stores.payloads import COLUMNS, DIRECTORY, Payloads
from app.stores.schema import scripts

SHOWN_MAX = 20
"""Of problems of one kind, so many are told."""

RULES = {
    "job {}: it is finished but {} of its {} items have an end": """
        SELECT id, succeeded + failed + cancelled, total FROM jobs
        WHERE ended_at IS NOT NULL AND succeeded + failed + cancelled != total""",
    "job {}: it is completed but {} items were cancelled": """
        SELECT id, cancelled FROM jobs WHERE status = 'completed' AND cancelled""",
    "job {}: it is {}, with ended_at {} and expires_at {}": """
        SELECT id, status, ended_at, expires_at FROM jobs
        WHERE (status IN ('completed', 'failed', 'cancelled', 'expired')) != (ended_at IS NOT NULL)
        OR (ended_at IS NULL) != (expires_at IS NULL)""",
    "job {}: it is completed, and could get more items": """
        SELECT id FROM jobs WHERE status = 'completed' AND NOT sealed""",
    "job {}: it is {}, and its first item started at {}": """
        SELECT id, status, started_at FROM jobs WHERE status IN ('queued', 'running')
        AND (status = 'running') != (started_at IS NOT NULL)""",
    "job {}: created at {}, started at {}, ended at {}, in no order": """
        SELECT id, created_at, started_at, ended_at FROM jobs
        WHERE started_at < created_at OR ended_at < coalesce(started_at, created_at) OR expires_at < ended_at""",
    "job {}: it counts {} succeeded and {} failed, its log holds {} results, {} of them failures": """
        SELECT jobs.id, succeeded, jobs.failed, coalesce(sum(count), 0) AS done,
            coalesce(sum(segments.failed), 0) AS bad
        FROM jobs LEFT JOIN segments USING (owner) GROUP BY jobs.seq
        HAVING succeeded + jobs.failed != done OR jobs.failed != bad""",
    "job {}: its digest knows {} of its {} failures": """
        SELECT id, coalesce(digest ->> 'failed_before', 0) + coalesce(digest ->> 'failures', 0) AS known, failed
        FROM jobs LEFT JOIN digests USING (owner) WHERE known != failed""",
    "job {}: it has {} items of {}": """
        SELECT id, coalesce(sum(count), 0) AS items, total FROM jobs LEFT JOIN blocks USING (owner)
        GROUP BY jobs.seq HAVING items != total""",
    "job {}: its items from {} on do not follow on those before {}": """
        SELECT id, first, due FROM
        (SELECT owner, first, lag(first + count, 1, 0) OVER (PARTITION BY owner ORDER BY first) AS due FROM blocks)
        JOIN jobs USING (owner) WHERE first != due""",
    "job {}: the results from {} on overlap those before {}, or are of no item": """
        SELECT id, first, stop FROM
        (SELECT owner, first, count, lag(first + count, 1, 0) OVER (PARTITION BY owner ORDER BY first) AS stop
        FROM segments) JOIN jobs USING (owner) WHERE first < stop OR count < 1 OR first + count > total""",
    "job {}: the results from {} on stand at {}, {} of the log instead of {}, {}": """
        SELECT id, first, done_before, failed_before, done, bad FROM
        (SELECT owner, first, done_before, failed_before,
            lag(done_before + count, 1, 0) OVER of_job AS done, lag(failed_before + failed, 1, 0) OVER of_job AS bad
        FROM segments WINDOW of_job AS (PARTITION BY owner ORDER BY id))
        JOIN jobs USING (owner) WHERE done_before != done OR failed_before != bad""",
    "job {}: its owner, {}, is not there, is dead, or is another job's too": """
        SELECT id, owner FROM jobs
        WHERE owner NOT IN (SELECT id FROM owners WHERE NOT dead AND upload IS NULL)
        OR owner IN (SELECT owner FROM jobs GROUP BY owner HAVING count(*) > 1)""",
    "owner {}: it is neither a job's, nor an upload's, nor to be swept away": """
        SELECT id FROM owners WHERE NOT dead AND upload IS NULL AND id NOT IN (SELECT owner FROM jobs)""",
    "{} rows of {} are nobody's, and will never be swept away": """
        SELECT count(*) AS number, name FROM (
            SELECT owner, 'blocks' AS name FROM blocks UNION ALL SELECT owner, 'segments' FROM segments
            UNION ALL SELECT owner, 'notes' FROM notes UNION ALL SELECT owner, 'file_uses' FROM file_uses
            UNION ALL SELECT owner, 'digests' FROM digests
        ) WHERE owner NOT IN (SELECT id FROM owners) GROUP BY name""",
}
"""What no database of ours may hold: what is wrong, and the query that finds it."""


@dataclass(slots=True)
class Report:
    """What was found."""

    jobs: int = 0
    items: int = 0
    results: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problems: Iterator[str]) -> None:
        """Of one kind."""
        for number, problem in enumerate(problems):
            if number == SHOWN_MAX:
                self.problems.append(f"… and more like this: {problem}")
                break
            self.problems.append(problem)


def verify(directory: Path, *, quick: bool = False) -> Report:
    """Check everything; `quick` leaves out what the items, results and files say.

    ServiceError if there is no database, or it is of another schema.
    """
    path = directory / "millpond.sqlite"
    if not path.is_file():
        raise ServiceError(f"{directory} holds no Millpond: there is no {path.name} in it.")
    report = Report()
    try:
        with closing(_opened(path)) as connection:
            connection.execute("BEGIN")
            _check_schema(connection)
            report.add(_damages(connection, quick=quick))
            for message, rule in RULES.items():
                report.add(message.format(*row) for row in connection.execute(rule))
            if not quick:
                report.add(_wrong_blocks(connection, path))
                report.add(_wrong_segments(connection, path))
            report.add(_missing_files(connection, directory / "files"))
            report.jobs, report.items, report.results = connection.execute(
                "SELECT count(*), coalesce(sum(total), 0), coalesce(sum(succeeded + failed), 0) FROM jobs"
            ).fetchone()
    except sqlite3.Error as error:
        report.problems.append(f"the database cannot be read on: {error}")
    stored = [
        Path(entry.path) for place in sorted((directory / "files").glob("??")) for entry in files_in(place)
    ]
    report.files = len(stored)
    report.add(_wrong_files(stored, quick=quick))
    return report


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _check_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != len(scripts()):
        raise ServiceError(
            f"The database has schema {version}, this Millpond checks {len(scripts())};"
            " an older one is brought up to date by serving it once."
        )


def _damages(connection: sqlite3.Connection, *, quick: bool) -> Iterator[str]:
    for (said,) in connection.execute(f"PRAGMA {'quick_check' if quick else 'integrity_check'}"):
        if said != "ok":
            yield f"the database is damaged: {said}"


def _whole_lines(path: Path, rows: Iterable[sqlite3.Row]) -> Iterator[tuple[sqlite3.Row, bytes | None]]:
    """Each row with its lines, or None if they are lost; those of jobs that were deleted meanwhile are left out."""
    payloads = Payloads(path.with_name(DIRECTORY))
    for row in rows:
        owner, place = row["owner"], row["place"]
        lines = row["lines"] if place is None else payloads.whole(owner, place, row["size"], row["checksum"])
        if lines is None:
            with closing(_opened(path)) as now:
                if not now.execute("SELECT 1 FROM jobs WHERE owner = ?", (owner,)).fetchone():
                    continue
        yield row, lines


def _wrong_blocks(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    query = f"SELECT id, first, count, owner, {COLUMNS} FROM blocks JOIN jobs USING (owner)"
    for (job_id, first, count, *_), lines in _whole_lines(path, connection.execute(query)):
        if lines is None:
            yield f"job {job_id}: the payload of the items from {first} on is not whole"
        elif lines.count(b"\n") != count or not lines.endswith(b"\n"):
            yield f"job {job_id}: the block of items from {first} on has not {count} lines"


def _wrong_segments(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    query = f"SELECT jobs.id, first, count, segments.failed, owner, {COLUMNS} FROM segments JOIN jobs USING (owner)"
    for (job_id, first, count, failed, *_), text in _whole_lines(path, connection.execute(query)):
        if text is None:
            yield f"job {job_id}: the payload of the results from {first} on is not whole"
            continue
        lines = text.splitlines(keepends=True)
        where = f"job {job_id}: the results from {first} on"
        if len(lines) != count or not text.endswith(b"\n"):
            yield f"{where} have not {count} lines"
        elif sum(map(is_failure, lines)) != failed:
            yield f"{where} have not {failed} failures"
        else:
            for index, line in enumerate(lines, start=first):
                if not line.startswith(b'{"index":%d,' % index) or not _is_json(line):
                    yield f"{where}: the line of item {index} is not its result"


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _missing_files(connection: sqlite3.Connection, files: Path) -> Iterator[str]:
    """Files that were uploaded and not deleted."""
    for file_id, size in connection.execute("SELECT id, size_bytes FROM files"):
        path = files / file_id[7:9] / file_id
        if not path.is_file():
            yield f"file {file_id}: it is not there"
        elif path.stat().st_size != size:
            yield f"file {file_id}: it has {path.stat().st_size} bytes instead of {size}"


def _wrong_files(stored: list[Path], *, quick: bool) -> Iterator[str]:
    for path in stored:
        if path.parent.name != path.name[7:9]:
            yield f"file {path}: it has no business there"
        elif not quick:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if path.name != f"sha256-{digest}":
                yield f"file {path.name}: its content is another, sha256-{digest}"
