"""What `python -m app` can do besides serving."""

import sys
from pathlib import Path

from app.stores.backup import back_up
from app.stores.verification import verify


def check(directory: Path, *, quick: bool) -> int:
    """Verify a data directory; 1 if something is wrong with it."""
    report = verify(directory, quick=quick)
    for problem in report.problems:
        sys.stdout.write(f"{problem}\n")
    found = f"{len(report.problems)} problems" if report.problems else "no problems"
    sys.stdout.write(
        f"checked {report.jobs:,} jobs, {report.items:,} items, {report.results:,} results, {report.files:,} files:"
        f" {found}\n"
    )
    return 1 if report.problems else 0


def backup(directory: Path, target: Path) -> int:
    """Copy a data directory."""
    size = back_up(directory, target)
    sys.stdout.write(f"{target}: {size / (1 << 20):.1f} MiB; serve it with MILLPOND_DATA_DIR={target}\n")
    return 0
