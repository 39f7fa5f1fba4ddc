"""What the machine, or the container, gives us."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

_THREAD_COUNTS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "BLIS")
WORKER_ENVIRONMENT: Mapping[str, str] = {f"{library}_NUM_THREADS": "1" for library in _THREAD_COUNTS}
"""One process per CPU already uses them all; the service's own environment wins over these."""


def cpu_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this process may use: its affinity or the cgroup's quota (v2 or v1), the lesser, rounded up."""
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


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
