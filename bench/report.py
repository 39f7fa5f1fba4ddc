"""What a measurement says: figures beside their references of the same run, and the machine they are from."""

import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ROOT = Path(__file__).parent.parent
PACKAGES = ("fastapi", "uvicorn", "uvloop", "pydantic", "msgspec", "pillow", "numpy")
HEADINGS = ("what", "millpond", "reference", "unit", "ratio", "the reference is")


class WrongResult(Exception):
    """The service answered, and not with what it should have; no figure is worth anything then."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A median, and that of its reference if there is one."""

    what: str
    value: float
    unit: str
    reference: float | None = None
    against: str = ""

    def cells(self) -> tuple[str, ...]:
        shown = "" if self.reference is None else _rounded(self.reference)
        ratio = "" if self.reference is None else f"{self.value / self.reference:.2f}"
        return (self.what, _rounded(self.value), shown, self.unit, ratio, self.against)


def timed(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[float, T]:
    """Seconds by the clock on the wall, and what came of it."""
    began = perf_counter()
    result = work(*args, **kwargs)
    return perf_counter() - began, result


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def table(figures: Sequence[Figure]) -> str:
    """The figures, one a line, in columns."""
    rows = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def conditions(runs: int) -> str:
    """Where and on what the figures were measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    return (
        f"{os.cpu_count()} x {_processor()}, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, {packages}\n"
        f"revision {_revision()}; {command}; medians of {runs}, interleaved with their references"
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (1, 2, 4)
    padded = (
        f"{cell:>{width}}" if column in numbers else f"{cell:<{width}}"
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(padded).rstrip()


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
