"""CPU time of a service, told by what used it."""

from collections import Counter
from pathlib import Path

MS_PER_NS = 1e-6


def used(pid: int) -> Counter[str]:
    """Nanoseconds of CPU since the start, and voluntary switches (proc(5), `schedstat` and `status`), by part."""
    total: Counter[str] = Counter()
    for process in (pid, *_descendants(pid)):
        for thread in Path(f"/proc/{process}/task").iterdir():
            part = "workers" if process != pid else "loop" if thread.name == str(pid) else "other threads"
            nanoseconds = int((thread / "schedstat").read_text().split()[0])
            status = (thread / "status").read_text()
            woken = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
            total.update({part: nanoseconds, f"{part}, woken": woken, "all": nanoseconds})
    return total


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return children + [grandchild for child in children for grandchild in _descendants(child)]
