"""What becomes of an item: it says so itself, and the oracle and the engine both believe it.

An item is `{"n": 17, "fate": "die", "k": 2, "ms": 3.5}`: its `k` first attempts go wrong in the way of its fate.
"""

import random
from dataclasses import dataclass

import msgspec

DEATHS = 2
"""After so many deaths an item is given up (docs/faults.md)."""


class Item(msgspec.Struct, frozen=True):
    n: int
    fate: str
    k: int = 0
    ms: float = 1.0

    def line(self) -> bytes:
        return msgspec.json.encode(self)


@dataclass(frozen=True)
class Outcome:
    """The result that an item must come to."""

    output: int | None
    kind: str | None
    attempts: int


def draw(chance: random.Random, n: int) -> Item:
    """Mostly a good item."""
    ms = chance.choice((0.01, 0.2, 2.0, 30.0, 400.0)) * chance.uniform(0.5, 1.5)
    fate = chance.choices(("ok", "fail", "flaky", "die", "oom"), (80, 8, 6, 4, 1))[0]
    return Item(n, fate, chance.randint(1, 3) if fate in ("flaky", "die") else 0, ms)


def outcome(item: Item, max_attempts: int) -> Outcome:
    """By the rules of the contract, written down a second time."""
    match item.fate:
        case "fail":
            return Outcome(None, "exception", max_attempts)
        case "flaky":
            done = item.k < max_attempts
            return Outcome(
                item.n if done else None, None if done else "exception", min(item.k + 1, max_attempts)
            )
        case "die":
            deaths = min(item.k, max_attempts, DEATHS)
            if deaths == item.k and deaths < min(max_attempts, DEATHS):
                return Outcome(item.n, None, deaths + 1)
            return Outcome(None, "crashed", deaths)
        case _:
            return Outcome(item.n, None, 1)
