"""Looks for pydantic's plugins, without what pydantic loads to look for them.

How it works: pydantic asks `importlib.metadata`, which brings in `email` and `zipfile`, 2 MiB, and reads about every
distribution.  A distribution names its plugins in one file of its metadata, and those files suffice to see that there
are none.

Invariant: where there may be a plugin, pydantic looks for itself.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

LOADER = "pydantic.plugin._loader"
_GROUP = "[pydantic]"
_FILES = ("*.dist-info/entry_points.txt", "*.egg-info/entry_points.txt", "EGG-INFO/entry_points.txt")


def spare_plugins() -> None:
    """Have pydantic take it that there are none, if that is so; before the first model or adapter is made."""
    if LOADER not in sys.modules and not _may_be_there():
        loader = ModuleType(LOADER)
        loader.__dict__["get_plugins"] = tuple  # called without arguments, it gives none
        sys.modules[LOADER] = loader


def _may_be_there() -> bool:
    """Whether a distribution that can be imported names a plugin, or one is where only its finder can see it."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True
    return any(path.is_file() or any(map(_names_one, _told(path))) for path in map(Path, sys.path))


def _told(directory: Path) -> Iterator[Path]:
    for pattern in _FILES:
        yield from directory.glob(pattern)


def _names_one(entry_points: Path) -> bool:
    try:
        return _GROUP in entry_points.read_text(errors="replace")
    except OSError:
        return True
