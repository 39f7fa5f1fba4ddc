"""What is asked of each library: how fast it is, and what becomes of an item that goes wrong.  Pure but for `Seen`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Scale = Literal["full", "quick"]
Case = Literal["short", "long", "kill", "unpicklable", "hang", "restart"]

CASES: tuple[Case, ...] = ("short", "long", "kill", "unpicklable", "hang", "restart")
FAULTS: tuple[Case, ...] = ("kill", "unpicklable", "hang", "restart")
FAULT_ITEMS = 20


@dataclass(frozen=True, slots=True)
class Size:
    batch: int
    each: int
    single: int
    costly: int
    photos: int
    runs: int


SIZES: Mapping[Scale, Size] = {
    "full": Size(batch=20_000, each=2_000, single=500, costly=200, photos=100, runs=3),
    "quick": Size(batch=5_000, each=500, single=100, costly=100, photos=24, runs=1),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one case."""

    figures: Mapping[str, list[float]]
    """One value for each run, by the name of the column."""
    right: int = 0
    """Of the good items of a fault, how many got their right result."""
    good: int = 0
    told: str | None = None
    """What the bad item's caller was told; None if nothing in the time there was."""

    def save(self, path: Path) -> None:
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Seen":
        return cls(**json.loads(path.read_text()))
