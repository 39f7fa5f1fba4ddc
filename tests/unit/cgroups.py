"""A memory controller that says what a test wants it to."""

from pathlib import Path

LIMIT = 1_000_000


class FakeCgroup:
    """The files of a memory controller, version 1 or 2, with a limit of a million bytes."""

    def __init__(self, root: Path, version: int) -> None:
        folder = root if version == 2 else root / "memory"
        folder.mkdir(exist_ok=True)
        names = {
            2: ("memory.max", "memory.current", "inactive_file", "memory.events"),
            1: (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
                "memory.oom_control",
            ),
        }[version]
        self.limit, self.usage = folder / names[0], folder / names[1]
        self.field, self.stat, self.oom = names[2], folder / "memory.stat", folder / names[3]
        self.limit.write_text(f"{LIMIT}\n")
        self.uses(0)
        self.has_killed(0)

    def uses(self, used: int, *, given_back: int = 0) -> None:
        self.usage.write_text(f"{used + given_back}\n")
        self.stat.write_text(f"cache 5\n{self.field} {given_back}\nunevictable 0\n")

    def has_killed(self, count: int) -> None:
        self.oom.write_text(f"low 0\noom_kill {count}\n")
