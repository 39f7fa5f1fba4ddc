"""How much CPU and memory the machine, or the container, gives us."""

import math
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_THREAD_COUNTS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "BLIS")
WORKER_ENVIRONMENT: Mapping[str, str] = {f"{library}_NUM_THREADS": "1" for library in _THREAD_COUNTS}
"""One process per CPU already uses them all; the service's own environment wins over these."""


def cpu_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this process may use: its affinity or the cgroup's quota (v2 or v1), the lesser, rounded up."""
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def default_processes(cpus: int, memory_bytes: int | None) -> int:
    """A worker for each CPU, as far as the memory allows; at least one."""
    return cpus if memory_bytes is None else max(1, min(cpus, memory_bytes // WORKER_BYTES))


def _quota(cgroup: Path) -> float | None:
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if limit in ("max", "-1") else int(limit) / int(period)


WORKER_BYTES = 96 << 20
"""What one worker is taken to need when there is little memory."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What one worker may do before it is replaced, and what it may take at all."""

    items_max: int = 1 << 62
    growth_bytes_max: int | None = None
    """Memory above what it had at its start; looked at between items."""
    data_bytes_max: int | None = None
    """Memory above what it had at its start that it is refused, with MemoryError."""


def rss_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process; 0 if it is gone (proc(5), statm)."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def limit_data(growth_bytes: int) -> None:
    """Refuse this process memory beyond what it has now and so much more (setrlimit(2), RLIMIT_DATA)."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[5])
    limit = pages * resource.getpagesize() + growth_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
