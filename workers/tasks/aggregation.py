"""A table's rows, summed up by group, read once and never held in memory."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from workers import File, task

GROUPS_MAX = 100_000
HEADER_CHARS_MAX = 1 << 20
DELIMITERS = ",;\t|"


class TableError(ValueError):
    """A table that cannot be summed up; the message names the file, the place and what is wrong there."""


@dataclass(slots=True)
class Summary:
    """The numbers of one group, in decimal while they grow: ten times 0.1 is 1, not 0.9999999999999999."""

    count: int
    sum: Decimal
    min: Decimal
    max: Decimal

    def add(self, number: Decimal) -> None:
        self.count += 1
        self.sum += number
        self.min = min(self.min, number)
        self.max = max(self.max, number)

    def figures(self) -> "Figures":
        mean = self.sum / self.count
        return Figures(self.count, float(self.sum), float(mean), float(self.min), float(self.max))


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one group."""

    count: int
    sum: float
    mean: float
    min: float
    max: float


@task
def aggregate_csv(table: File, by: str, value: str) -> dict[str, Figures]:
    """Count, sum, mean, min and max of the column `value` for each different text in the column `by`.

    The table is a CSV file in UTF-8 whose first line names the columns; commas, semicolons, tabs and bars are
    recognised as delimiters. Groups come in the order they first appear. A cell of `value` that is empty
    is left out, as SQL leaves out NULL; one that is not a number is an error which names the line.
    """
    groups: dict[str, Summary] = {}
    for line, group, number in _numbers(table, by, value):
        if summary := groups.get(group):
            summary.add(number)
        elif len(groups) < GROUPS_MAX:
            groups[group] = Summary(1, number, number, number)
        else:
            raise TableError(
                f"{_name(table)}, line {line}: column {by!r} has more than {GROUPS_MAX} different values;"
                " group by a column with fewer"
            )
    return {group: summary.figures() for group, summary in groups.items()}


def _numbers(table: File, by: str, value: str) -> Iterator[tuple[int, str, Decimal]]:
    """Line number, group and number of every row that has one.  TableError at the first that is wrong."""
    line = 1
    with table.open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        try:
            delimiter, group_at, value_at = _layout(table, lines.readline(HEADER_CHARS_MAX), by, value)
            rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
            for row in rows:
                line = 1 + rows.line_num
                if not row:
                    continue
                if len(row) <= max(group_at, value_at):
                    raise TableError(f"{_name(table)}, line {line}: the row ends after {len(row)} cells")
                if text := row[value_at].strip():
                    yield line, row[group_at], _number(table, line, value, text)
        except UnicodeDecodeError as error:
            raise TableError(f"{_name(table)} is not UTF-8 text: save it as CSV UTF-8") from error
        except csv.Error as error:
            raise TableError(f"{_name(table)}, after line {line}: {error}") from error


def _layout(table: File, header: str, by: str, value: str) -> tuple[str, int, int]:
    """The delimiter, and where the two columns are: of all delimiters the first that finds both."""
    if not header:
        raise TableError(f"{_name(table)} is empty: its first line should name the columns")
    readings = [(delimiter, _cells(header, delimiter)) for delimiter in DELIMITERS]
    for delimiter, columns in readings:
        if by in columns and value in columns:
            return delimiter, columns.index(by), columns.index(value)
    columns = max((columns for _, columns in readings), key=len)
    missing = " and ".join(repr(name) for name in dict.fromkeys((by, value)) if name not in columns)
    raise TableError(
        f"{_name(table)} has no column {missing}; its columns are {', '.join(map(repr, columns))}"
    )


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _number(table: File, line: int, column: str, text: str) -> Decimal:
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = False
    if not finite:
        raise TableError(f"{_name(table)}, line {line}: {text[:80]!r} in column {column!r} is not a number")
    return Decimal(text)


def _name(table: File) -> str:
    return table.name or table.id
