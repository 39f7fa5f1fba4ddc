"""From what was seen to the Markdown that says it.  Pure.

Invariant: a cell is built from what was seen alone; no library's name is looked at.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from bench import markdown
from bench.peers.cases import FAULTS, Case, Seen
from bench.report import rounded

NOTHING = "–"  # noqa: RUF001 -- a dash in a table cell

SPEED = {
    "batch": "squares/s, as a batch",
    "each": "squares/s, one by one",
    "p50": "one call, p50 (ms)",
    "p99": "p99 (ms)",
    "uniform": "equal costs, times `Pool`",
    "lognormal": "unequal costs, times `Pool`",
    "photographs": "photographs, times `Pool`",
}
"""Columns of figures; the last three by what `Pool.map` takes."""
BRIEF = ("batch", "each", "p50", "lognormal", "photographs")
FAULT_TITLES = {
    "kill": "a worker is killed",
    "unpicklable": "an error that does not pickle",
    "hang": "an item hangs (limit 1 s)",
    "restart": "all killed, and started again",
}

Findings = Mapping[Case, Seen | None]
"""None for a case that could not be measured."""


def speeds(found: Mapping[str, Findings], columns: tuple[str, ...]) -> str:
    """A line for each library, by its title."""
    rows = {title: [_figure(findings, name) for name in columns] for title, findings in found.items()}
    return markdown.table("", [SPEED[name] for name in columns], rows)


def faults(found: Mapping[str, Findings]) -> str:
    """How many of the good items got their results, and what the bad one's caller was told."""
    rows = {title: [fault(case, findings.get(case)) for case in FAULTS] for title, findings in found.items()}
    return markdown.table("", [FAULT_TITLES[case] for case in FAULTS], rows)


def fault(case: Case, seen: Seen | None) -> str:
    if seen is None:
        return NOTHING
    share = f"{seen.right}/{seen.good}"
    share = share if seen.right == seen.good else f"**{share}**"
    if case == "restart":
        return share
    return f"{share}, {f'told `{seen.told}`' if seen.told else '**told nothing**'}"


def again(document: str, tables: Sequence[str], found: Mapping[str, Findings]) -> str:
    """The document with new rows for those in `found`, by their titles; each of the tables has one in the document.

    ValueError if a library has not as many rows in the document: then nothing can be put in their place.
    """
    fresh = {
        title: [row for text in tables for row in text.splitlines() if _is_of(title, row)] for title in found
    }
    lines = document.splitlines()
    for title, rows in fresh.items():
        places = [place for place, line in enumerate(lines) if _is_of(title, line)]
        if len(places) != len(rows):
            raise ValueError(f"{title} has {len(places)} rows, not {len(rows)}: measure all of them")
        for place, row in zip(places, rows, strict=True):
            lines[place] = row
    return "\n".join([*lines, ""])


def told_again(document: str, title: str, said: str) -> str:
    """The document with a line in its list that says when this library was measured, behind those that are there."""
    begin = f"- {title} again: "
    lines = [line for line in document.splitlines() if not line.startswith(begin)]
    last = max(place for place, line in enumerate(lines) if line.startswith("- "))
    return "\n".join([*lines[: last + 1], begin + said, *lines[last + 1 :], ""])


def _is_of(title: str, row: str) -> bool:
    return row.startswith(f"| {title} |")


def _figure(findings: Findings, name: str) -> str:
    for seen in findings.values():
        if seen is not None and name in seen.figures:
            return rounded(median(seen.figures[name]))
    return NOTHING
