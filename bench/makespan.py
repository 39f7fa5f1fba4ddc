"""Items of unequal cost, and the least time that workers can take for them.  Pure."""

import heapq
import random
from collections.abc import Sequence
from statistics import fmean

IDEAL = "ideal makespan"
SIGMA = 1.2
"""Of the lognormal costs: one in a hundred is sixteen times the median."""
RARE_TIMES = 30
"""What a rare item of the bimodal costs takes, by the mean: of 10 ms, 300 ms."""


def costs_of(kind: str, count: int, mean_ms: float, draw: int = 0) -> list[float]:
    """Milliseconds for each item, in the order they are submitted; the same every time, others in another draw."""
    match kind:
        case "uniform":
            return [mean_ms] * count
        case "uniform, half":
            return [mean_ms / 2] * count
        case "growing":
            return [mean_ms * (2 * place + 1) / count for place in range(count)]
        case "lognormal":
            places = range(draw * count, (draw + 1) * count)
            return _with_mean(mean_ms, [random.Random(n).lognormvariate(0, SIGMA) for n in places])
        case "bimodal":
            chance = random.Random(count + draw)
            rare = set(chance.sample(range(count), max(1, count // 100)))
            return [RARE_TIMES * mean_ms if n in rare else 0.7 * mean_ms for n in range(count)]
    raise ValueError(f"no costs are called {kind!r}")


def ideal_seconds(costs_ms: Sequence[float], workers: int) -> float:
    """No order of these on so many workers ends sooner: a lower bound, reached but for the last item."""
    return max(sum(costs_ms) / workers, max(costs_ms)) / 1_000


def in_order_seconds(costs_ms: Sequence[float], workers: int) -> float:
    """The makespan where whoever is free takes the next item at once, for nothing: order is all that is lost."""
    free_at = [0.0] * workers
    for cost in costs_ms:
        heapq.heapreplace(free_at, free_at[0] + cost)
    return max(free_at) / 1_000


def _with_mean(mean: float, values: Sequence[float]) -> list[float]:
    factor = mean / fmean(values)
    return [value * factor for value in values]
