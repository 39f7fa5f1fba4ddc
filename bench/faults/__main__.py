"""`python -m bench.faults`: have every fault happen in every library, and print what became of it as Markdown.

With `--write` the tables also go into `docs/faults.md`.  Nothing is judged: the exit status is 0 whoever hangs.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import markdown
from bench.conditions import conditions
from bench.faults import pebble_pool
from bench.faults.catalogue import FAULTS, WAYS, Fault, Way
from bench.faults.table import NO_LIMIT, NOT_THERE, cell
from bench.faults.warden import observe
from bench.server import ROOT

DOCUMENT = ROOT / "docs" / "faults.md"

HEADINGS = {
    "each": "Items handed over one by one (`apply_async`, `submit`, `schedule`, `chunksize: 1`)",
    "map": "Items handed over as one batch (`map`, or a job, with the chunks it makes by default)",
}
PARENT_HEADING = "The parent SIGKILLed, and two seconds waited"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A library, as the tables show it."""

    name: str
    title: str
    has_limits: bool
    """Whether an item can have a time limit."""


CANDIDATES = (
    Candidate("pool", "`multiprocessing.Pool`", has_limits=False),
    Candidate("executor", "`ProcessPoolExecutor`", has_limits=False),
    Candidate("pebble", "`pebble.ProcessPool`", has_limits=True),
    Candidate("millpond", "Millpond", has_limits=True),
)


class Comparison:
    """Some libraries, some faults."""

    def __init__(self, candidates: Sequence[Candidate], faults: Sequence[Fault]) -> None:
        self._candidates = candidates
        self._faults = faults
        self._missing: set[str] = set()
        self._paths: tuple[Path, ...] = ()

    def install(self) -> None:
        """Get what is not part of the project; what cannot be had is left out, and said to be."""
        if not any(candidate.name == "pebble" for candidate in self._candidates):
            return
        try:
            self._paths = (pebble_pool.install(),)
        except (OSError, subprocess.SubprocessError) as error:
            self._missing.add("pebble")
            print(f"pebble cannot be installed: {error}", file=sys.stderr)

    def tables(self) -> str:
        """Every fault in every library, as Markdown."""
        in_items = [fault for fault in self._faults if fault.kind != "parent"]
        of_parent = [fault for fault in self._faults if fault.kind == "parent"]
        parts = [self._table(HEADINGS[way], "fault", in_items, way) for way in WAYS] if in_items else []
        if of_parent:
            parts.append(self._table(PARENT_HEADING, "workers", of_parent, "each"))
        return "\n\n".join(parts)

    def _table(self, heading: str, corner: str, faults: Iterable[Fault], way: Way) -> str:
        rows = {
            fault.title: [self._cell(candidate, fault, way) for candidate in self._candidates]
            for fault in faults
        }
        columns = [candidate.title for candidate in self._candidates]
        return f"### {heading}\n\n{markdown.table(corner, columns, rows)}"

    def _cell(self, candidate: Candidate, fault: Fault, way: Way) -> str:
        if candidate.name in self._missing:
            return NOT_THERE
        if fault.limit_seconds is not None and not candidate.has_limits:
            return NO_LIMIT
        text = cell(fault, observe(candidate.name, fault.name, way, self._paths))
        print(f"{candidate.name} {fault.name} {way}: {text}", file=sys.stderr, flush=True)
        return text


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write if told to."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults", description="The same faults in four pools of processes."
    )
    names = [candidate.name for candidate in CANDIDATES]
    parser.add_argument("--library", choices=names, action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--fault",
        choices=[fault.name for fault in FAULTS],
        action="append",
        help="only this one; may be repeated",
    )
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.relative_to(ROOT)} too")
    options = parser.parse_args(arguments)
    if options.write and (options.library or options.fault):
        parser.error("--write: only with every library and every fault")
    comparison = Comparison(
        [candidate for candidate in CANDIDATES if candidate.name in (options.library or names)],
        [fault for fault in FAULTS if not options.fault or fault.name in options.fault],
    )
    comparison.install()
    where = conditions("bench.faults", arguments).splitlines()
    where.append(f"pebble {pebble_pool.VERSION}; two workers each, start method `forkserver`")
    text = "\n".join(f"- {line}" for line in where) + f"\n\n{comparison.tables()}"
    print(text)
    if options.write:
        DOCUMENT.write_text(markdown.put_between(DOCUMENT.read_text(), "faults", text))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
