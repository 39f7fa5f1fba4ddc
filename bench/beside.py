"""What the service does besides its items: the CPU time of all its processes while these only sleep.

Items that burn CPU would hide it, and on a busy machine they would take longer, so that chunks became smaller; these
do not.  Run it in turns with another revision: CPU time, too, depends on what else the machine does.
"""

import os
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from bench.following import as_document, follow
from bench.scale import WORKERS
from bench.server import serving

ITEMS, ITEM_SECONDS, RUNS = 400, 0.010, 6
MS_PER_NS = 1e-6


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
            before = _used(server.pid)
            follow(server.url, submission)
            used = _used(server.pid)
            used.subtract(before)
            runs.append(used)
    print(
        f"{ITEMS} items that sleep {ITEM_SECONDS * 1000:g} ms, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )
    for what in sorted(runs[0]):
        figures = [used[what] * (1 if what.endswith("woken") else MS_PER_NS) for used in runs]
        print(f"{what:<24}{min(figures):>9.1f}{median(figures):>9.1f}")


def _used(pid: int) -> Counter[str]:
    """Nanoseconds of CPU since the start, and voluntary switches (proc(5), `schedstat` and `status`), by part."""
    used: Counter[str] = Counter()
    for process in (pid, *_descendants(pid)):
        for thread in Path(f"/proc/{process}/task").iterdir():
            part = "workers" if process != pid else "loop" if thread.name == str(pid) else "other threads"
            nanoseconds = int((thread / "schedstat").read_text().split()[0])
            status = (thread / "status").read_text()
            woken = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
            used.update({part: nanoseconds, f"{part}, woken": woken, "all": nanoseconds})
    return used


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


if __name__ == "__main__":
    main()
