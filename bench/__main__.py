"""`python -m bench`: the service against `multiprocessing.Pool` in the same run, as ratios.

With `--write` the table also goes to `bench/RESULTS.md`, and a picture of it to `bench/results.svg`.

Exit status: 1 if a result was wrong.  However long anything took is for a reader to judge, not for an exit status.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from bench.conditions import conditions
from bench.measuring import measure
from bench.report import table
from bench.results import PICTURE, RESULTS, document
from bench.scale import Scale
from bench.workloads import WORKLOADS


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table, and write it if told to.  The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Millpond against the Pool, in the same run."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of {', '.join(WORKLOADS)} (default: all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller and once; for a look, not for the record"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"into {RESULTS.name} too; not with names or --quick"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in WORKLOADS]:
        parser.error(f"{unknown[0]}: there is no such workload, but {', '.join(WORKLOADS)}")
    if options.write and (options.names or options.quick):
        parser.error("--write: only with every workload, in full")
    scale: Scale = "quick" if options.quick else "full"
    where = conditions("bench", arguments)
    print(where, end="\n\n", flush=True)
    measured, wrong = measure(options.names or list(WORKLOADS), scale)
    print(table(measured))
    if options.write:
        from bench.plot import draw  # matplotlib takes a second to import

        RESULTS.write_text(document(where, measured, wrong))
        draw(measured, PICTURE)
        print(f"\nwritten to {RESULTS} and {PICTURE}")
    for flaw in wrong:
        print(f"WRONG: {flaw}")
    return 1 if wrong else 0


if __name__ == "__main__":
    # So that whatever was started is ended, whoever ends this.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
