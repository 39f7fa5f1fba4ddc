"""One workload after the other; one that fails does not take the others with it."""

import sys
from collections.abc import Sequence
from subprocess import SubprocessError
from time import perf_counter

import httpx

from bench.figure import Figure, WrongResult
from bench.scale import Scale
from bench.workloads import WORKLOADS

FAILURES = (WrongResult, AssertionError, httpx.HTTPError, OSError, EOFError, SubprocessError)
"""What a service that does not do what it should makes of a measurement."""


def measure(names: Sequence[str], scale: Scale) -> tuple[dict[str, list[Figure]], list[str]]:
    """The figures of each workload that could be measured, and what was wrong with the others."""
    measured: dict[str, list[Figure]] = {}
    wrong: list[str] = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, end=" ", flush=True)
        began = perf_counter()
        try:
            measured[name] = WORKLOADS[name](scale)
        except FAILURES as failure:
            wrong.append(f"{name}: {type(failure).__name__}: {failure}")
        print(f"{perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return measured, wrong
