"""CPU limits, from files laid out as a container sees them (cgroups(7))."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workers.limits import cpu_limit

CPUS = 4


@pytest.fixture(autouse=True)
def _four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(CPUS)))


def v2(root: Path, limit: str) -> Path:
    """A cgroup v2 directory: quota and period in one file."""
    (root / "cpu.max").write_text(f"{limit} 100000\n")
    return root


def v1(root: Path, limit: str) -> Path:
    """A cgroup v1 directory: quota and period in a file each, -1 for none."""
    (root / "cpu").mkdir()
    (root / "cpu/cpu.cfs_quota_us").write_text("-1\n" if limit == "max" else f"{limit}\n")
    (root / "cpu/cpu.cfs_period_us").write_text("100000\n")
    return root


@pytest.mark.parametrize("version", [v1, v2])
@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("max", CPUS), ("100000", 1), ("150000", 2), ("1000", 1), ("400000", 4), ("6400000", CPUS)],
)
def test_the_quota_is_rounded_up_and_never_beyond_the_affinity(
    tmp_path: Path, version: Callable[[Path, str], Path], limit: str, cpus: int
) -> None:
    """`docker run --cpus 1.5` makes two workers."""
    assert cpu_limit(version(tmp_path, limit)) == cpus


def test_without_a_cgroup_the_affinity_is_the_limit(tmp_path: Path) -> None:
    """A machine without cgroups, or the root of cgroup v2, which has no `cpu.max`, sets no quota."""
    assert cpu_limit(tmp_path) == CPUS
