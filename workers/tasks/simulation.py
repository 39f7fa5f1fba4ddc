"""Monte Carlo: split a large experiment into items that differ in their seed only."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from workers import task

SAMPLES_MAX = 10**12
BLOCK_SAMPLES = 1 << 17
"""Points drawn at a time: 2 MiB of coordinates, whatever `samples` is."""


@dataclass(frozen=True, slots=True)
class PiEstimate:
    """An estimate of π.  To join several, add up `inside` and `samples`: π ≈ 4 · inside / samples."""

    pi: float
    inside: int
    samples: int
    standard_error: float


@task
def estimate_pi(
    samples: Annotated[int, Field(ge=1, le=SAMPLES_MAX)], seed: Annotated[int, Field(ge=0)] = 0
) -> PiEstimate:
    """Estimate π by throwing points at the unit square and counting those in the quarter circle.

    The same samples and seed give the same answer; different seeds are independent of each other.
    """
    random = np.random.default_rng(seed)
    blocks, rest = divmod(samples, BLOCK_SAMPLES)
    inside = sum(_hits(random, BLOCK_SAMPLES) for _ in range(blocks)) + _hits(random, rest)
    share = inside / samples
    return PiEstimate(4 * share, inside, samples, 4 * math.sqrt(share * (1 - share) / samples))


def _hits(random: "np.random.Generator", points: int) -> int:  # quoted, as to name it would load it
    x, y = random.random((2, points))
    return int(np.count_nonzero(x * x + y * y < 1))
