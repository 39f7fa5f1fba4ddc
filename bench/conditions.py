"""Where and on what something was measured, and with what command."""

import os
import platform
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import thread_time

from bench.server import ROOT

PACKAGES = ("fastapi", "uvicorn", "uvloop", "pydantic", "msgspec", "pillow", "numpy")


def conditions(module: str, arguments: Sequence[str]) -> str:
    """Four lines: the machine, how fast it is, the versions, the command."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    command = shlex.join(["python", "-m", module, *arguments])
    return (
        f"{machine()}, load {os.getloadavg()[0]:.1f} at the start\n"
        f"a million additions in Python take {additions_ms():.0f} ms of CPU\n"
        f"Python {platform.python_version()}, {packages}, SQLite {sqlite3.sqlite_version}\n"
        f"revision {revision()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{command}`"
    )


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {_processor()}, {memory:.0f} GiB, Linux {platform.release()}"


def additions_ms() -> float:
    """What a fixed piece of work takes: processors of one name differ three-fold, and others share their cores."""
    return min(_additions_ms() for _ in range(3))


def told_additions_ms(document: str) -> float | None:
    """The same as it was told by `conditions` at the head of a document; None if it was not."""
    found = re.search(r"^- a million additions in Python take (\d+) ms of CPU$", document, re.MULTILINE)
    return float(found[1]) if found else None


def _additions_ms() -> float:
    began, total = thread_time(), 0
    for number in range(1_000_000):
        total += number
    return (thread_time() - began) * 1_000


def revision(root: Path = ROOT) -> str:
    """The commit of the files there, and whether there is more than is committed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
