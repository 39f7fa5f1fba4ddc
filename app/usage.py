"""The arguments of `python -m app`.

Imported only if there are any: a service mostly has none, and does without `argparse`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """What these say; ends the process if that is nothing that can be done."""
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Python's multiprocessing.Pool as a service. Settings are MILLPOND_… environment variables.",
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="serve, which is what happens without a command")
    check = commands.add_parser("check", help="verify a data directory, served or not")
    check.add_argument("--quick", action="store_true", help="do not look into items, results and files")
    backup = commands.add_parser("backup", help="write a consistent copy of a data directory, served or not")
    backup.add_argument("target", type=Path, help="directory to make")
    for command in (check, backup):
        command.add_argument("--data-dir", type=Path, help="instead of MILLPOND_DATA_DIR")
    _add_key_parser(commands)
    return parser.parse_args(arguments)


def _add_key_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    key = commands.add_parser("key", help="make, list and revoke API keys, while the service runs or not")
    actions = key.add_subparsers(dest="action", metavar="action", required=True)
    add = actions.add_parser("add", help="make a key and print it, this once")
    add.add_argument("--role", choices=("read", "submit", "admin"), required=True, help="what it may do")
    revoke = actions.add_parser("revoke", help="take a caller's keys away, at once")
    revoke.add_argument("--id", help="only this one, which `key list` shows")
    for action in (add, revoke):
        action.add_argument("name", help="the caller; several keys may share a name")
    for action in (add, revoke, actions.add_parser("list", help="show whose keys there are")):
        action.add_argument("--file", type=Path, help="instead of MILLPOND_API_KEYS_FILE")
