"""`RESULTS.md`: what was measured last, in full, kept with the code that it was measured of."""

from collections.abc import Mapping, Sequence

from bench.figure import Figure
from bench.report import table
from bench.server import ROOT

RESULTS = ROOT / "bench" / "RESULTS.md"
PICTURE = ROOT / "bench" / "results.svg"

_HEAD = """\
# Results

Written by `make bench`; [docs/benchmarks.md](../docs/benchmarks.md) says what each line is and how to read it.
Figures are medians of so many runs; a ratio is Millpond's median by the reference's. References that are measured take
turns with Millpond; the ideal of W4 is reckoned, and W7 and recovery have none. Every result was read back and checked.
`python -m bench W1` measures the lines of one workload.

![Each ratio, and its target](results.svg)
"""


def document(conditions: str, measured: Mapping[str, Sequence[Figure]], wrong: Sequence[str]) -> str:
    """The whole file."""
    where = "\n".join(f"- {line}" for line in conditions.splitlines())
    parts = [_HEAD, f"{where}\n", f"{tally(measured)}\n", f"{table(measured)}\n"]
    if wrong:
        parts.append("\n".join(["Not measured:\n", *(f"- {flaw}" for flaw in wrong), ""]))
    return "\n".join(parts)


def tally(measured: Mapping[str, Sequence[Figure]]) -> str:
    """How many targets are met, and which are not."""
    judged = [
        (name, figure) for name, figures in measured.items() for figure in figures if figure.met is not None
    ]
    missed = [f"{name} {figure.what}" for name, figure in judged if not figure.met]
    met = f"{len(judged) - len(missed)} of {len(judged)} targets are met"
    return f"{met}; missed: {', '.join(missed)}." if missed else f"{met}."
