"""The tables of docs/api.md, and its list of problems."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/api.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells by the names of its table's columns."""

    cells: dict[str, str]

    @property
    def name(self) -> str:
        """The first cell, without what marks it up."""
        return next(iter(self.cells.values())).replace("`", "")

    def codes(self, column: str) -> list[str]:
        """What stands in backticks in a cell."""
        return self.cells[column].split("`")[1::2]


def table(first_column: str) -> list[Row]:
    """The rows of the table whose first column is called so."""
    lines = DOCUMENT.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    names = _cells(lines[start])
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(Row(dict(zip(names, _cells(line), strict=True))))
    return rows


def problems() -> dict[str, str]:
    """What is told of each type of problem, in one line, by its address; the lines of the list are broken anywhere."""
    text = DOCUMENT.read_text().partition("\n## Problems\n")[2]
    items = re.findall(r"^- `(/problems/[\w-]+)`(.+?)(?=^- |\Z)", text, re.MULTILINE | re.DOTALL)
    return {address: " ".join(told.split()) for address, told in items}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
