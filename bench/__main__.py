"""`python -m bench`: the main path against `multiprocessing.Pool` in the same run, as ratios.

Exit status: 1 if a result was wrong.  However long anything took is for a reader to judge, not for an exit status.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from bench import latency, million, photos
from bench.report import Figure, WrongResult, conditions, table

WORKLOADS: Mapping[str, Callable[[int], list[Figure]]] = {
    "million": million.measure,
    "photos": photos.measure,
    "latency": latency.measure,
}
RUNS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table.  The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Millpond against multiprocessing.Pool, in the same run."
    )
    parser.add_argument("--only", choices=WORKLOADS, help="one workload instead of all")
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="of which the median is told (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs: at least 1")
    names = [options.only] if options.only else list(WORKLOADS)
    print(conditions(options.runs), end="\n\n", flush=True)
    figures: list[Figure] = []
    status = 0
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            figures += WORKLOADS[name](options.runs)
        except (WrongResult, AssertionError) as wrong:
            print(f"{name}: {type(wrong).__name__}: {wrong}", file=sys.stderr)
            status = 1
    print(table(figures))
    return status


if __name__ == "__main__":
    sys.exit(main())
