"""How short of memory the container is, by its cgroup (v2 or v1).

How it works: what counts is what cannot be given back, so pages of files that are not in use are left out.  Above
`HOLD_SHARE` of the limit no item should start; above `KILL_SHARE` something must end, before the kernel decides
what.  After a kill there is a pause, for its memory comes back a little later.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

NEAR_SHARE = 0.50
HOLD_SHARE = 0.80
KILL_SHARE = 0.90
LAST_SHARE = 0.94
"""Here it no longer matters that what was ended may not have given its memory back yet."""
KILL_PAUSE_SECONDS = 0.100
UNLIMITED_BYTES = 1 << 60
"""cgroup v1 says "no limit" with a number near 2 to the 63rd."""


class Pressure(Enum):
    NONE = "items may start"
    NEAR = "items may start, but it pays to look often"
    HOLD = "no item should start"
    KILL = "something must end"


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The files that tell a cgroup's memory."""

    limit: Path
    usage: Path
    stat: Path
    inactive_field: str
    oom: Path

    @classmethod
    def find(cls, root: Path = Path("/sys/fs/cgroup")) -> "Cgroup | None":
        """The container's own cgroup, as it is mounted in it; None if there is no memory controller."""
        if (root / "memory.max").exists():
            files = (root / "memory.max", root / "memory.current", root / "memory.stat")
            return cls(*files, "inactive_file", root / "memory.events")
        v1 = root / "memory"
        if (v1 / "memory.limit_in_bytes").exists():
            files = (v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes", v1 / "memory.stat")
            return cls(*files, "total_inactive_file", v1 / "memory.oom_control")
        return None

    def limit_bytes(self) -> int | None:
        """None if there is no limit."""
        text = self.limit.read_text().strip()
        return None if text == "max" or int(text) > UNLIMITED_BYTES else int(text)

    def used_bytes(self) -> int:
        """Without the pages that the kernel can take back at once."""
        return int(self.usage.read_text()) - _field(self.stat, self.inactive_field)

    def oom_kills(self) -> int:
        """How many processes the kernel has ended for want of memory."""
        return _field(self.oom, "oom_kill")


def _field(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


class MemoryGuard:
    """Tells what the memory allows.  Without a limit: everything."""

    def __init__(self, cgroup: Cgroup | None) -> None:
        self._cgroup = cgroup
        self.limit_bytes = cgroup.limit_bytes() if cgroup else None
        self._kills = cgroup.oom_kills() if cgroup else 0
        self._quiet_until = 0.0

    def look(self, now: float) -> Pressure:
        """How it is now; `KILL` is said once, and again if it did not help after a pause, or is not enough."""
        if self._cgroup is None or self.limit_bytes is None:
            return Pressure.NONE
        share = self._cgroup.used_bytes() / self.limit_bytes
        if share >= LAST_SHARE or (share >= KILL_SHARE and now >= self._quiet_until):
            self._quiet_until = now + KILL_PAUSE_SECONDS
            return Pressure.KILL
        if share >= HOLD_SHARE:
            return Pressure.HOLD
        return Pressure.NEAR if share >= NEAR_SHARE else Pressure.NONE

    def headroom_bytes(self) -> int | None:
        """What may still be taken before something must end; None without a limit."""
        if self._cgroup is None or self.limit_bytes is None:
            return None
        return max(0, int(self.limit_bytes * KILL_SHARE) - self._cgroup.used_bytes())

    def oom_happened(self) -> bool:
        """Whether the kernel has ended something since this was asked last."""
        before, self._kills = self._kills, self._cgroup.oom_kills() if self._cgroup else 0
        return self._kills > before
