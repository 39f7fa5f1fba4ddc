"""What the service does besides its items: the CPU time of all its processes while these only sleep.

Items that burn CPU would hide it, and on a busy machine they would take longer, so that chunks became smaller; these
do not.  Run it in turns with another revision: CPU time, too, depends on what else the machine does.
"""

from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from bench.conditions import conditions
from bench.cpu import MS_PER_NS, used
from bench.following import as_document, follow
from bench.scale import WORKERS
from bench.server import serving

ITEMS, ITEM_SECONDS, RUNS = 400, 0.010, 6


def main() -> None:
    """Print, for a job, milliseconds of CPU and how often somebody was woken: the least and the median of the runs."""
    submission = as_document("sleep_for", msgspec.json.encode([ITEM_SECONDS] * ITEMS))
    runs: list[Counter[str]] = []
    with (
        TemporaryDirectory(prefix="millpond-bench-") as directory,
        serving(Path(directory), processes=str(WORKERS), tasks="workers.tasks.faults") as server,
    ):
        follow(server.url, submission)
        for _ in range(RUNS):
            before = used(server.pid)
            follow(server.url, submission)
            runs.append(used(server.pid) - before)
    print(conditions("bench.beside", ()))
    print(f"{f'{ITEMS} items that sleep {ITEM_SECONDS * 1000:g} ms':<24}{'least':>9}{'median':>9}")
    for what in sorted(runs[0]):
        figures = [run[what] * (1 if what.endswith("woken") else MS_PER_NS) for run in runs]
        print(f"{what:<24}{min(figures):>9.1f}{median(figures):>9.1f}")


if __name__ == "__main__":
    main()
