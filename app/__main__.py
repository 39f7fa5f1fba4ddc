"""`python -m app`: serve; `check` and `backup` look after a data directory, `key` after API keys."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings

WRONG, NO_TASKS = 2, 3
"""Exit statuses: the settings or arguments are not right; the tasks cannot be loaded."""


def main() -> int:
    """Do what the arguments say, by default serve until told to stop."""
    arguments = _parser().parse_args()

    from pydantic import ValidationError

    from app import commands
    from app.domain.errors import ServiceError
    from app.settings import Settings, unknown_variables

    if unknown := unknown_variables(os.environ):
        sys.stderr.write("\n".join(unknown) + "\n")
        return WRONG
    try:
        settings = Settings()
        match arguments.command:
            case "check":
                return commands.check(arguments.data_dir or settings.data_dir, quick=arguments.quick)
            case "backup":
                return commands.backup(arguments.data_dir or settings.data_dir, arguments.target)
            case "key":
                return _key(arguments, arguments.file or settings.api_keys_file)
            case _:
                return _serve(settings)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            name = "_".join(("MILLPOND", *(str(part).upper() for part in fault["loc"][:1])))
            sys.stderr.write(f"{name}: {fault['msg'].removeprefix('Value error, ')}\n")
        return WRONG
    except ServiceError as error:
        sys.stderr.write(f"{error.detail}\n")
        return WRONG


def _key(arguments: argparse.Namespace, file: Path | None) -> int:
    from app import commands

    match arguments.action:
        case "add":
            return commands.add_key(file, arguments.name, arguments.role)
        case "revoke":
            return commands.revoke_keys(file, arguments.name, arguments.id)
        case _:
            return commands.list_keys(file)


def _serve(settings: "Settings") -> int:
    import logging

    from app.ownership import owned
    from app.pool import launched
    from workers.forker import PoolError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    try:
        with owned(settings.data_dir), launched(settings) as pool:
            # FastAPI loads all of pydantic's version 1 to see that no model is of it, unless it cannot be loaded.
            sys.modules["pydantic.v1"] = None  # type: ignore[assignment]  # what the import system has for that
            from app.main import serve  # takes half a second, in which the zygote loads the tasks

            serve(settings, pool)
    except PoolError as error:
        sys.stderr.write(f"{error}\n")
        return NO_TASKS
    return 0


def _parser() -> argparse.ArgumentParser:
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
    return parser


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


if __name__ == "__main__":
    sys.exit(main())
