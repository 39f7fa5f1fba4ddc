"""What a probe saw, as it is written down for the table."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Observation:
    """One fault in one library."""

    right: int = 0
    """How many good items got their right result."""
    good: int = 0
    """How many good items there were."""
    error: str | None = None
    """What was told of the bad item, or else of the whole call."""
    seconds: float | None = None
    """From the misdeed until that was known."""
    hangs: bool = False
    """The call had not ended when the probe lost patience."""
    workers: int = 0
    """How many processes gave new items their right results afterwards."""
    refusal: str | None = None
    """If none did, what new items got instead; None if nothing came."""
    left: int | None = None
    """After its parent's death, how many of its processes still ran."""

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def save(self, path: Path) -> None:
        """Write it down, all or nothing."""
        draft = path.with_suffix(".draft")
        draft.write_text(self.dump())
        draft.replace(path)

    @classmethod
    def load(cls, text: str) -> "Observation":
        return cls(**json.loads(text))
