"""`python -m app`: serve; `check` and `backup` look after a data directory, `key` after API keys."""

import gc
import os
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from app.settings import Settings
    from workers.launcher import Begun

WRONG, NO_TASKS = 2, 3
"""Exit statuses: the settings or arguments are not right; the tasks cannot be loaded."""


def main() -> int:
    """Do what the arguments say, by default serve until told to stop."""
    arguments = None
    if len(sys.argv) > 1:
        from app.usage import parsed

        arguments = parsed(sys.argv[1:])

    gc.disable()  # until all is loaded: that is there to stay, and there is a lot of it to look at
    if arguments is None or arguments.command in (None, "serve"):
        return _serve()
    return _with_settings(partial(_look_after, arguments))


def _with_settings(do: "Callable[[Settings], int]") -> int:
    """What `do` returns; WRONG, and a word on it, if the settings are not right, or it cannot be done with them."""
    from workers.plugins import spare_plugins

    spare_plugins()
    from pydantic import ValidationError

    from app.domain.errors import ServiceError
    from app.settings import Settings, unknown_variables

    if unknown := unknown_variables(os.environ):
        sys.stderr.write("\n".join(unknown) + "\n")
        return WRONG
    try:
        return do(Settings.read(os.environ))
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            names = (f"MILLPOND_{str(part).upper()}: " for part in fault["loc"][:1])
            sys.stderr.write(f"{''.join(names)}{fault['msg'].removeprefix('Value error, ')}\n")
        return WRONG
    except ServiceError as error:
        sys.stderr.write(f"{error.detail}\n")
        return WRONG


def _look_after(arguments: "argparse.Namespace", settings: "Settings") -> int:
    from app import commands

    gc.enable()
    match arguments.command:
        case "check":
            return commands.check(arguments.data_dir or settings.data_dir, quick=arguments.quick)
        case "backup":
            return commands.backup(arguments.data_dir or settings.data_dir, arguments.target)
        case _:
            return _key(arguments, arguments.file or settings.api_keys_file)


def _key(arguments: "argparse.Namespace", file: "Path | None") -> int:
    from app import commands

    match arguments.action:
        case "add":
            return commands.add_key(file, arguments.name, arguments.role)
        case "revoke":
            return commands.revoke_keys(file, arguments.name, arguments.id)
        case _:
            return commands.list_keys(file)


def _serve() -> int:
    # First of all: it takes as long to be ready to load tasks as this process to know which, and there are two cores.
    from app.begin import begin

    process, control = begin()
    try:
        return _with_settings(lambda settings: _serve_on(settings, (process, control)))
    finally:
        control.close()
        process.kill()
        process.wait()


def _serve_on(settings: "Settings", zygote: "Begun") -> int:
    import logging

    from app.ownership import owned
    from app.pool import launched
    from workers.forker import PoolError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    try:
        with owned(settings.data_dir), launched(settings, zygote) as pool:
            _spare()
            from app.main import serve  # takes half a second, in which the zygote loads the tasks

            serve(settings, pool)
    except PoolError as error:
        sys.stderr.write(f"{error}\n")
        return NO_TASKS
    return 0


def _spare() -> None:
    """Keep out what is loaded with what serves, and never used: 7 MiB."""
    # FastAPI loads all of pydantic's version 1 to see that no model is of it, unless it cannot be loaded.
    sys.modules["pydantic.v1"] = None  # type: ignore[assignment]  # what the import system has for that
    # And uvicorn its own command line, with click, which stands between who asks for it and what serves, and what
    # sets up logging, which is set up here.
    command_line = ModuleType("uvicorn.main")
    command_line.__getattr__ = lambda _: None  # type: ignore[method-assign]  # nothing of it is used
    sys.modules["uvicorn.main"] = command_line
    sys.modules["logging.config"] = ModuleType("logging.config")
    # And FastAPI the models of an OpenAPI document, each of which it makes.  None is used: the document is a dict, and
    # is complete as it is.
    described = ModuleType("fastapi.openapi.models")
    described.__getattr__ = lambda _: dict  # type: ignore[method-assign]
    sys.modules["fastapi.openapi.models"] = described


if __name__ == "__main__":
    sys.exit(main())
