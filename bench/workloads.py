"""Every workload, by the name it is asked for, in the order of the table."""

from collections.abc import Callable, Mapping

from bench import million, photos, single
from bench.figure import Figure
from bench.scale import Scale

Measure = Callable[[Scale], list[Figure]]
"""Starts what it needs, measures, and ends it; WrongResult or AssertionError if what came back is not right."""

WORKLOADS: Mapping[str, Measure] = {
    "W1": million.measure,
    "W2": single.measure,
    "W3": photos.measure,
}
