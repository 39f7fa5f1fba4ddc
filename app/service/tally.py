"""How much is unfinished, by caller, counted as it changes: going through ten thousand jobs would take a while."""


class Tally:
    """Unfinished jobs of one caller, and how many of their items wait."""

    __slots__ = ("items", "jobs")

    def __init__(self) -> None:
        self.jobs = 0
        self.items = 0


class Tallies:
    """Of all who have unfinished jobs."""

    def __init__(self) -> None:
        self._by_caller: dict[str | None, Tally] = {}

    @property
    def items(self) -> int:
        """How many items wait in all."""
        return sum(tally.items for tally in self._by_caller.values())

    def of(self, caller: str | None) -> tuple[int, int]:
        """How many jobs it has, and how many of their items wait."""
        tally = self._by_caller.get(caller)
        return (tally.jobs, tally.items) if tally else (0, 0)

    def begin(self, caller: str | None) -> Tally:
        """It has one more job, which counts its items here."""
        tally = self._by_caller.setdefault(caller, Tally())
        tally.jobs += 1
        return tally

    def end(self, caller: str | None) -> None:
        """One of its jobs has finished; none of that job's items waits any more."""
        tally = self._by_caller[caller]
        tally.jobs -= 1
        if not tally.jobs:
            assert not tally.items, "who has no job has no items that wait"
            del self._by_caller[caller]
