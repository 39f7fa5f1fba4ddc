"""What `python -m app` can do besides serving."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from app.domain.caller import Role
from app.domain.errors import ServiceError
from app.stores.backup import back_up
from app.stores.keys import KeyFile, check_name
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


def add_key(file: Path | None, name: str, role: str) -> int:
    """Make a key, and print it: the one time that anybody can see it."""
    key = _key_file(file).add(check_name(name), Role(role), datetime.now(UTC))
    sys.stdout.write(f"{key}\n")
    sys.stderr.write(f"That is the key of {name}, to {role}; it is shown this once, and kept nowhere.\n")
    return 0


def list_keys(file: Path | None) -> int:
    """Print the keys there are: whose, for what, since when, and the id that tells those of one name apart."""
    for key in _key_file(file).listed():
        sys.stdout.write(f"{key.name:<24} {key.role:<8} {key.created_at:%Y-%m-%d %H:%M}  {key.id}\n")
    return 0


def revoke_keys(file: Path | None, name: str, key_id: str | None) -> int:
    """Take away the keys of this name, or one of them; 1 if there are none."""
    number = _key_file(file).revoke(name, key_id)
    done = f"{number} {'key' if number == 1 else 'keys'} revoked"
    sys.stdout.write(f"{done if number else 'there is no such key'}\n")
    return 0 if number else 1


def _key_file(file: Path | None) -> KeyFile:
    if file is None:
        raise ServiceError(
            "MILLPOND_API_KEYS_FILE: set it to the file of keys, for the service too; or say --file."
        )
    return KeyFile(file)
