"""What a cgroup says of memory, and what the guard makes of it."""

from pathlib import Path

import pytest

from tests.unit.cgroups import LIMIT, FakeCgroup
from workers.memory import KILL_PAUSE_SECONDS, Cgroup, MemoryGuard, Pressure


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def cgroup(request: pytest.FixtureRequest, tmp_path: Path) -> FakeCgroup:
    return FakeCgroup(tmp_path, request.param)


@pytest.mark.parametrize(
    ("used", "pressure"),
    [(499_000, Pressure.NONE), (500_000, Pressure.NEAR), (800_000, Pressure.HOLD), (900_000, Pressure.KILL)],
)
def test_pressure_grows_with_use(cgroup: FakeCgroup, tmp_path: Path, used: int, pressure: Pressure) -> None:
    """By shares of the limit."""
    guard = MemoryGuard(Cgroup.find(tmp_path))
    cgroup.uses(used)

    assert guard.look(0.0) is pressure


def test_pages_that_can_be_given_back_do_not_count(cgroup: FakeCgroup, tmp_path: Path) -> None:
    """Files that were read once do not hold up anything."""
    guard = MemoryGuard(Cgroup.find(tmp_path))
    cgroup.uses(100_000, given_back=890_000)

    assert guard.look(0.0) is Pressure.NONE


def test_after_a_kill_there_is_a_pause(cgroup: FakeCgroup, tmp_path: Path) -> None:
    """Memory comes back a little after its owner is gone; only at the very brink the next one goes at once."""
    guard = MemoryGuard(Cgroup.find(tmp_path))
    cgroup.uses(910_000)

    first, second = guard.look(0.0), guard.look(KILL_PAUSE_SECONDS / 2)
    cgroup.uses(950_000)
    brink = guard.look(KILL_PAUSE_SECONDS / 2)
    cgroup.uses(910_000)
    later = guard.look(KILL_PAUSE_SECONDS * 2)

    assert (first, second, brink, later) == (Pressure.KILL, Pressure.HOLD, Pressure.KILL, Pressure.KILL)


def test_a_kill_by_the_kernel_is_told_once(cgroup: FakeCgroup, tmp_path: Path) -> None:
    """And one from before the start never."""
    cgroup.has_killed(2)
    guard = MemoryGuard(Cgroup.find(tmp_path))

    before = guard.oom_happened()
    cgroup.has_killed(3)

    assert (before, guard.oom_happened(), guard.oom_happened()) == (False, True, False)


def test_headroom_ends_where_killing_begins(cgroup: FakeCgroup, tmp_path: Path) -> None:
    """What may still be taken, never less than nothing."""
    guard = MemoryGuard(Cgroup.find(tmp_path))
    cgroup.uses(300_000)
    some = guard.headroom_bytes()
    cgroup.uses(950_000)

    assert (some, guard.headroom_bytes()) == (600_000, 0)


@pytest.mark.parametrize("text", ["max", str((1 << 63) - 4096)])
def test_without_a_limit_there_is_no_pressure(cgroup: FakeCgroup, tmp_path: Path, text: str) -> None:
    """Both ways of saying so are understood."""
    if text == "max" and cgroup.limit.name != "memory.max":
        text = str((1 << 63) - 1)
    cgroup.limit.write_text(text)
    guard = MemoryGuard(Cgroup.find(tmp_path))
    cgroup.uses(10 * LIMIT)

    assert (guard.look(0.0), guard.headroom_bytes()) == (Pressure.NONE, None)


def test_without_a_controller_there_is_no_pressure(tmp_path: Path) -> None:
    """A machine without cgroups is not short of anything."""
    guard = MemoryGuard(Cgroup.find(tmp_path))

    assert (guard.look(0.0), guard.headroom_bytes(), guard.oom_happened()) == (Pressure.NONE, None, False)
