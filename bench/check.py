"""`python -m bench.check`: whether a fresh, quick run is about as good as what `bench/RESULTS.md` says.

Only what hardly depends on the machine is compared: ratios, and memory.  Exit status: 1 if something is worse than
generous bounds allow, or a result was wrong.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from bench.figure import Figure, is_rate
from bench.measuring import measure
from bench.report import Recorded, as_recorded, recorded, rounded
from bench.results import RESULTS
from bench.server import ROOT
from bench.workloads import WORKLOADS

WORSE_MAX = 1.5
"""How many times what was recorded is taken for noise, and for a run that is smaller and made once."""
TRIES = 2
"""What looks worse is measured again before it is said: the machine may have been busy."""
MEMORY = frozenset({"MiB", "KiB"})


def main(arguments: Sequence[str]) -> int:
    """Measure, compare, print what is worse.  The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description="Whether anything got worse.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads (default: all)")
    names = parser.parse_args(arguments).names or list(WORKLOADS)
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"{unknown[0]}: there is no such workload, but {', '.join(WORKLOADS)}")
    if not RESULTS.exists():
        parser.error(f"{RESULTS.relative_to(ROOT)} is not there: run `make bench` first")
    before = recorded(RESULTS.read_text())
    complaints: list[str] = []
    for _ in range(TRIES):
        measured, wrong = measure(names, "quick")
        worse = compared(before, measured)
        complaints = [*wrong, *(text for texts in worse.values() for text in texts)]
        names = [name for name in names if name in worse or name not in measured]
        if not names:
            break
    for complaint in complaints:
        print(f"WORSE: {complaint}")
    print("worse than recorded" if complaints else "as good as recorded")
    return 1 if complaints else 0


def compared(before: Sequence[Recorded], measured: Mapping[str, Sequence[Figure]]) -> dict[str, list[str]]:
    """What is worse than before, in words, by workload; what was not recorded is not judged."""
    known = {record.name: record for record in before}
    worse: dict[str, list[str]] = {}
    for workload, figures in measured.items():
        for figure in figures:
            now = as_recorded(workload, figure)
            was = known.get(now.name)
            if was is not None and (complaint := _complaint(was, now)):
                worse.setdefault(workload, []).append(complaint)
    return worse


def _complaint(was: Recorded, now: Recorded) -> str | None:
    then, fresh = _comparable(was), _comparable(now)
    if then is None or fresh is None:
        return None
    times = then / fresh if is_rate(now.unit) else fresh / then
    if times <= WORSE_MAX:
        return None
    of = f" of {now.against}" if now.ratio is not None else f" {now.unit}"
    return (
        f"{now.workload} {now.what}: {rounded(fresh)}{of}, recorded {rounded(then)};"
        f" {times:.1f} times as bad, {WORSE_MAX} are allowed"
    )


def _comparable(record: Recorded) -> float | None:
    """What can be compared with another time's; None if nothing can, or it is nothing."""
    number = record.ratio if record.ratio is not None else record.value if record.unit in MEMORY else None
    return number if number and number > 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
