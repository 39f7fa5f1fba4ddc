"""Every workload, by the name it is asked for, in the order of the table."""

from collections.abc import Callable, Mapping

from bench import (
    costs,
    fairness,
    footprint,
    large,
    million,
    payloads,
    photos,
    pool_alone,
    pool_recovery,
    single,
    viewers,
)
from bench.figure import Figure
from bench.scale import Scale

Measure = Callable[[Scale], list[Figure]]
"""Starts what it needs, measures, and ends it; WrongResult or AssertionError if what came back is not right."""

WORKLOADS: Mapping[str, Measure] = {
    "W1": million.measure,
    "W2": single.measure,
    "W3": photos.measure,
    "W4": costs.measure,
    "W5": large.measure,
    "W6": viewers.measure,
    "W7": footprint.measure,
    "W8": payloads.measure,
    "fairness": fairness.measure,
    "pool": pool_alone.measure,
    "recovery": pool_recovery.measure,
}
