"""Reading views of the result log.

How it works: a segment's row says how many lines, and how many failures, stand before it.  So in order of
completion a cursor finds its segment by an index.  By index, the running counts are summed over the job's
segments, from the covering index alone; and while the job runs only the gapless range from 0 on counts.
"""

import sqlite3
from collections.abc import Iterator

from app.domain.flags import take
from app.domain.item import Block, Outcome, Page, Segment, View, line_at, number_of_lines
from app.domain.store import Extent
from app.stores.payloads import COLUMNS, SIZE, Payloads

_BEFORE: dict[Outcome | None, str] = {
    None: "done_before",
    "failed": "failed_before",
    "succeeded": "done_before - failed_before",
}
_FROM_ITEM = """
    {table} WHERE owner = (SELECT owner FROM jobs WHERE id = ?1)
    AND first >= coalesce((SELECT max(first) FROM {table}
        WHERE owner = (SELECT owner FROM jobs WHERE id = ?1) AND first <= ?2), 0)
    AND first + count > ?2 AND {own} > 0 ORDER BY first"""
"""A job's segments, or blocks, with an item or later ones, and something of their own."""
BLOCKS_MAX = 1_000
"""That are read at once: of items that came one by one, most of what that takes is for each."""
_OWN: dict[Outcome | None, str] = {None: "count", "failed": "failed", "succeeded": "count - failed"}


def read_page(
    connection: sqlite3.Connection,
    payloads: Payloads,
    job_id: str,
    view: View,
    after: int,
    *,
    lines_max: int,
    bytes_max: int,
    settled: bool,
) -> Page:
    """Lines of the view after the first `after`; at least one if there is one, else within both limits."""
    row = connection.execute("SELECT owner FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return Page(b"", after, 0)
    places = _places(connection, row["owner"], view, after, settled=settled)
    parts: list[bytes] = []
    count = size = 0
    for segment_id, before, own in places:
        skip = max(0, after - before)
        lines = _lines(connection, payloads, segment_id)
        if view.outcome is None and skip == 0 and own <= lines_max - count and size + len(lines) <= bytes_max:
            taken, number = lines, own
        else:
            taken, number = take(lines, view.outcome, skip, lines_max - count)
            taken, number = _within(taken, number, bytes_max - size, first=not parts)
        if number:
            parts.append(taken)
        count += number
        size += len(taken)
        if number < own - skip or count >= lines_max or size >= bytes_max:
            break
    return Page(b"".join(parts), after, count)


def read_result(connection: sqlite3.Connection, payloads: Payloads, job_id: str, index: int) -> bytes | None:
    """The result line of an item, if it has one."""
    row = _holding(connection, "segments", job_id, index)
    return line_at(payloads.lines(row), index - row["first"]) if row else None


def read_block(connection: sqlite3.Connection, payloads: Payloads, job_id: str, index: int) -> Block | None:
    """The block that holds an item."""
    row = _holding(connection, "blocks", job_id, index)
    return Block(row["first"], row["count"], payloads.lines(row)) if row else None


def read_blocks(
    connection: sqlite3.Connection, payloads: Payloads, job_id: str, index: int, bytes_max: int
) -> list[Block]:
    """The block that holds an item, and those behind it, as far as they are within the limit or the first."""
    found: list[Block] = []
    for row in connection.execute(
        f"SELECT first, count, owner, {COLUMNS}, {SIZE} AS bytes"
        f" FROM {_FROM_ITEM.format(table='blocks', own='count')} LIMIT ?3",
        (job_id, index, BLOCKS_MAX),
    ):
        bytes_max -= row["bytes"]
        if found and bytes_max < 0:
            break
        found.append(Block(row["first"], row["count"], payloads.lines(row)))
    return found


def extent(
    connection: sqlite3.Connection, payloads: Payloads, job_id: str, view: View, after: int, offset: int
) -> Extent:
    """The size of a finished job's view after the first `after` lines, and where a byte of it is.

    Whole segments are measured without reading them.
    """
    row = connection.execute("SELECT owner FROM jobs WHERE id = ?", (job_id,)).fetchone()
    size, place_after, place_bytes = 0, after, 0
    for segment_id, before, own in (
        _places(connection, row["owner"], view, after, settled=True) if row else ()
    ):
        if size <= offset:
            place_after, place_bytes = max(before, after), size
        size += _bytes_of(connection, payloads, segment_id, view.outcome, max(0, after - before), own)
    return Extent(size, place_after, offset - place_bytes)


def done_ranges(
    connection: sqlite3.Connection, job_id: str, index: int, ranges_max: int | None
) -> list[tuple[int, int]]:
    """Where results are from item `index` on, from the covering index alone."""
    rows = connection.execute(
        f"SELECT first, count FROM {_FROM_ITEM.format(table='segments', own='count')} LIMIT ?3",
        (job_id, index, -1 if ranges_max is None else ranges_max),
    )
    return [(first, count) for first, count in rows]


def segments_from(
    connection: sqlite3.Connection,
    payloads: Payloads,
    job_id: str,
    index: int,
    outcome: Outcome,
    bytes_max: int,
) -> list[Segment]:
    """Segments with results of item `index` or later ones, those without such an outcome left out unread."""
    found: list[Segment] = []
    for row in connection.execute(
        f"SELECT first, count, failed, done_before, failed_before, owner, {COLUMNS}, {SIZE} AS bytes"
        f" FROM {_FROM_ITEM.format(table='segments', own=_OWN[outcome])}",
        (job_id, index),
    ):
        bytes_max -= row["bytes"]
        if found and bytes_max < 0:
            break
        place = row["first"], row["count"], row["failed"], row["done_before"], row["failed_before"]
        found.append(Segment(job_id, *place, payloads.lines(row)))
    return found


def _holding(connection: sqlite3.Connection, table: str, job_id: str, index: int) -> sqlite3.Row | None:
    """The row of the job with what belongs to item `index`."""
    row: sqlite3.Row | None = connection.execute(
        f"SELECT first, count, owner, {COLUMNS} FROM {table} WHERE owner = (SELECT owner FROM jobs WHERE id = ?)"
        " AND first <= ? ORDER BY first DESC LIMIT 1",
        (job_id, index),
    ).fetchone()
    return row if row and index < row["first"] + row["count"] else None


def _lines(connection: sqlite3.Connection, payloads: Payloads, segment_id: int) -> bytes:
    return payloads.lines(
        connection.execute(f"SELECT owner, {COLUMNS} FROM segments WHERE id = ?", (segment_id,)).fetchone()
    )


def _bytes_of(
    connection: sqlite3.Connection,
    payloads: Payloads,
    segment_id: int,
    outcome: Outcome | None,
    skip: int,
    own: int,
) -> int:
    """The size of a segment's lines of the outcome, without the first `skip`."""
    size, count = connection.execute(
        f"SELECT {SIZE}, count FROM segments WHERE id = ?", (segment_id,)
    ).fetchone()
    if own == count and not skip:
        return int(size)
    return len(take(_lines(connection, payloads, segment_id), outcome, skip, own)[0])


def _places(
    connection: sqlite3.Connection, owner: int, view: View, after: int, *, settled: bool
) -> Iterator[tuple[int, int, int]]:
    """(segment id, lines of the view before it, lines of the view in it), from the cursor's on."""
    if view.order == "completion":
        return _by_completion(connection, owner, view.outcome, after)
    return _by_index(connection, owner, view.outcome, after, settled=settled)


def _within(lines: bytes, count: int, bytes_max: int, *, first: bool) -> tuple[bytes, int]:
    """As many of the lines as fit; the very first always does."""
    if len(lines) <= bytes_max:
        return lines, count
    end = lines.rfind(b"\n", 0, max(0, bytes_max)) + 1
    if end == 0 and first:
        end = lines.find(b"\n") + 1
    return lines[:end], number_of_lines(lines, 0, end)


def _by_completion(
    connection: sqlite3.Connection, owner: int, outcome: Outcome | None, after: int
) -> Iterator[tuple[int, int, int]]:
    before, own = _BEFORE[outcome], _OWN[outcome]
    # Lines of a view are never more than lines of the log: the cursor's segment cannot start before it.
    return connection.execute(
        f"SELECT id, {before}, {own} FROM segments WHERE owner = ?"
        f" AND done_before >= ? AND {before} + {own} > ? AND {own} > 0 ORDER BY done_before",
        (owner, _start(connection, owner, after), after),
    )


def _start(connection: sqlite3.Connection, owner: int, after: int) -> int:
    """`done_before` of the segment that holds line `after` of the whole log, or of the last one."""
    row = connection.execute(
        "SELECT max(done_before) FROM segments WHERE owner = ? AND done_before <= ?", (owner, after)
    ).fetchone()
    return row[0] or 0


def _by_index(
    connection: sqlite3.Connection, owner: int, outcome: Outcome | None, after: int, *, settled: bool
) -> Iterator[tuple[int, int, int]]:
    before = expected = 0
    rows = connection.execute(
        f"SELECT id, first, count, {_OWN[outcome]} FROM segments WHERE owner = ? ORDER BY first", (owner,)
    )
    for segment_id, first, count, own in rows:
        if first != expected and not settled:
            return
        expected = first + count
        if own and before + own > after:
            yield segment_id, before, own
        before += own
