"""How figures are written down, and read again: as one Markdown table, which is told on screen and kept in a file.

Invariant: `recorded(table(figures))` gives the figures back, as far as they were shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.figure import Figure, Target

HEADINGS = (
    *("workload", "what", "size", "Millpond", "reference", "unit", "ratio"),
    *("target", "", "runs", "the reference is"),
)
_NUMBERS = (3, 4, 6, 9)
"""Columns that are set flush right."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A line of a table that was written before."""

    workload: str
    what: str
    size: str
    against: str
    unit: str
    value: float
    ratio: float | None

    @property
    def name(self) -> tuple[str, str, str]:
        """What stays the same from run to run."""
        return self.workload, self.what, self.against


def table(measured: Mapping[str, Sequence[Figure]]) -> str:
    """The figures of each workload, one a line."""
    rows = [_cells(workload, figure) for workload, figures in measured.items() for figure in figures]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    rule = tuple(
        f"{'-' * (width - 1)}:" if column in _NUMBERS else "-" * width for column, width in enumerate(widths)
    )
    return "\n".join(_line(row, widths) for row in (HEADINGS, rule, *rows))


def recorded(document: str) -> list[Recorded]:
    """The lines of the first table that has these headings; ValueError if there is none."""
    lines = iter(document.splitlines())
    for line in lines:
        if _split(line) == HEADINGS:
            break
    else:
        raise ValueError(f"there is no table with the headings {', '.join(HEADINGS)}")
    next(lines, None)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append(_recorded(dict(zip(HEADINGS, _split(line), strict=True))))
    return found


def as_recorded(workload: str, figure: Figure) -> Recorded:
    """A figure as a table would keep it, but exact."""
    return Recorded(
        workload, figure.what, figure.size, figure.against, figure.unit, figure.value, figure.ratio
    )


def _recorded(cells: Mapping[str, str]) -> Recorded:
    ratio = cells["ratio"]
    return Recorded(
        cells["workload"],
        cells["what"],
        cells["size"],
        cells["the reference is"],
        cells["unit"],
        _number(cells["Millpond"]),
        _number(ratio) if ratio else None,
    )


def _cells(workload: str, figure: Figure) -> tuple[str, ...]:
    reference, ratio = figure.reference, figure.ratio
    return (
        workload,
        figure.what,
        figure.size,
        rounded(figure.value),
        "" if reference is None else rounded(reference),
        figure.unit,
        "" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else rounded(ratio),
        "" if figure.target is None else _shown(figure.target, figure.unit),
        {None: "", True: "met", False: "missed"}[figure.met],
        str(len(figure.values)),
        figure.against,
    )


def _shown(target: Target, unit: str) -> str:
    sign = "≤" if target.sense == "at most" else "≥"
    return f"{sign} {target.bound:,g} {'times' if target.of == 'ratio' else unit}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        f"{cell:>{width}}" if column in _NUMBERS else f"{cell:<{width}}"
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"


def _split(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def rounded(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))
