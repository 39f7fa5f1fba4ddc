"""`python -m bench.check`: whether a fresh, quick run is about as good as what `bench/RESULTS.md` says.

Ratios and memory hardly depend on the machine.  Plain times do: of them more is allowed, and still more by as much as
the machine is slower than the one that was recorded, which the head of the table tells.  What says nothing of the
service, or is another thing at another size, is only shown.

Exit status: 1 if something is worse than that allows, if a result was wrong, or if rows were measured and not
recorded, or recorded and not measured.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from bench.conditions import additions_ms, told_additions_ms
from bench.figure import Figure, is_rate
from bench.measuring import measure
from bench.report import Recorded, as_recorded, recorded, rounded
from bench.results import RESULTS
from bench.server import ROOT
from bench.workloads import WORKLOADS

WORSE_MAX = 1.5
"""How many times what was recorded is taken for noise, and for a run that is smaller and made once."""
SLOWER_MAX = 3.0
"""The same of plain times and rates, on a machine as fast as the one that was recorded."""
TRIES = 2
"""What looks worse is measured again before it is said: the machine may have been busy."""
STEADY = frozenset({"MiB", "KiB", "% of half"})
"""Units of what is much the same on any machine."""
TIMES = frozenset({"s", "ms", "µs"})
MORE_IS_BETTER = frozenset({"% of half"})
OF_THE_CLIENT = "%"
"""The unit of what the client has of a CPU: it says whether to trust the others."""
BY_SIZE = frozenset({("W6", "CPU of the serving process"), ("W6", "lines sent, all viewers")})
"""What grows with the number of viewers, and is compared among runs of one size only."""
UNSTEADY = frozenset({("W2", "one at a time, p99")})
"""Whose reference's own figure moves several times by the run: they are judged as the plain times that they are."""

Measurement = Callable[[Sequence[str]], tuple[dict[str, list[Figure]], list[str]]]
"""From names of workloads to their figures, and what was wrong."""


def main(arguments: Sequence[str]) -> int:
    """Measure, compare, print what is worse.  The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description="Whether anything got worse.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads (default: all)")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"{unknown[0]}: there is no such workload, but {', '.join(WORKLOADS)}")
    if not RESULTS.exists():
        parser.error(f"{RESULTS.relative_to(ROOT)} is not there: run `make bench` first")
    return judge(RESULTS.read_text(), names, lambda names: measure(names, "quick"), additions_ms())


def judge(document: str, names: Sequence[str], measured_of: Measurement, now_ms: float) -> int:
    """Measure these workloads, or all; what looks worse, or is wrong, once more.  The exit status."""
    before = [record for record in recorded(document) if not names or record.workload in names]
    then_ms = told_additions_ms(document)
    slower = max(1.0, now_ms / then_ms) if then_ms else 1.0
    left: Sequence[str] = names or list(WORKLOADS)
    all_measured: dict[str, list[Figure]] = {}
    for _ in range(TRIES):
        measured, wrong = measured_of(left)
        all_measured |= measured
        worse = compared(before, measured, slower)
        left = [name for name in left if name in worse or name not in measured]
        if not left:
            break
    failed = set(left) - all_measured.keys()
    complaints = [*wrong, *(text for texts in worse.values() for text in texts)]
    complaints += unmatched([record for record in before if record.workload not in failed], all_measured)
    print(
        f"plain times may take {slower * SLOWER_MAX:.1f} times as long as recorded: {_speeds(then_ms, now_ms)}"
    )
    for text in shown(before, all_measured):
        print(f"not judged: {text}")
    for complaint in complaints:
        print(f"WORSE: {complaint}")
    print("worse than recorded" if complaints else "as good as recorded")
    return 1 if complaints else 0


def compared(
    before: Sequence[Recorded], measured: Mapping[str, Sequence[Figure]], slower: float = 1.0
) -> dict[str, list[str]]:
    """What is worse than before, in words, by workload, on a machine that is slower by so many times."""
    worse: dict[str, list[str]] = {}
    for was, now in _pairs(before, measured):
        if complaint := _complaint(was, now, slower):
            worse.setdefault(now.workload, []).append(complaint)
    return worse


def unmatched(before: Sequence[Recorded], measured: Mapping[str, Sequence[Figure]]) -> list[str]:
    """Rows that are on one side only: whoever renames one, or takes it away, has it judged no more."""
    known, fresh = {record.name for record in before}, {record.name for record in _all(measured)}
    return [
        *(f"{_named(name)}: recorded, and not measured" for name in sorted(known - fresh)),
        *(f"{_named(name)}: measured, and not recorded" for name in sorted(fresh - known)),
    ]


def shown(before: Sequence[Recorded], measured: Mapping[str, Sequence[Figure]]) -> list[str]:
    """What is not judged, with both numbers and why."""
    return [
        f"{_named(now.name)}: {rounded(now.value)} {now.unit}, recorded {rounded(was.value)}; {why}"
        for was, now in _pairs(before, measured)
        if (why := _unjudged(was, now))
    ]


def _pairs(
    before: Sequence[Recorded], measured: Mapping[str, Sequence[Figure]]
) -> list[tuple[Recorded, Recorded]]:
    known = {record.name: record for record in before}
    return [(known[now.name], now) for now in _all(measured) if now.name in known]


def _all(measured: Mapping[str, Sequence[Figure]]) -> list[Recorded]:
    return [as_recorded(workload, figure) for workload, figures in measured.items() for figure in figures]


def _complaint(was: Recorded, now: Recorded, slower: float) -> str | None:
    if _unjudged(was, now):
        return None
    then, fresh = _number(was), _number(now)
    by_ratio = _by_ratio(now)
    more = is_rate(now.unit) or now.unit in MORE_IS_BETTER
    times = then / fresh if more else fresh / then
    allowed = WORSE_MAX if by_ratio or now.unit in STEADY else SLOWER_MAX * slower
    if times <= allowed:
        return None
    of = f" of {now.against}" if by_ratio else f" {now.unit}"
    return (
        f"{now.workload} {now.what}: {rounded(fresh)}{of}, recorded {rounded(then)};"
        f" {times:.1f} times as bad, {allowed:.1f} are allowed"
    )


def _unjudged(was: Recorded, now: Recorded) -> str | None:
    """Why the two are not compared; None if they are."""
    if now.unit == OF_THE_CLIENT:
        return "it is the client's"
    if (now.workload, now.what) in BY_SIZE and was.size != now.size:
        return f"it grows with the size, {now.size}, recorded {was.size}"
    if not _by_ratio(now) and not (now.unit in STEADY | TIMES or is_rate(now.unit)):
        return f"nobody said whether more {now.unit} is better"
    return None if min(_number(was), _number(now)) > 0 else "one of them is nothing"


def _by_ratio(record: Recorded) -> bool:
    return record.ratio is not None and (record.workload, record.what) not in UNSTEADY


def _number(record: Recorded) -> float:
    return record.ratio if record.ratio is not None and _by_ratio(record) else record.value


def _named(name: tuple[str, str, str]) -> str:
    workload, what, against = name
    return f"{workload} {what}" + (f" by {against}" if against else "")


def _speeds(then_ms: float | None, now_ms: float) -> str:
    then = "nobody recorded how long" if then_ms is None else f"{then_ms:.0f} ms"
    return f"a million additions took {then} then, {now_ms:.0f} ms now"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
