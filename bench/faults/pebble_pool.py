"""`pebble.ProcessPool`, which is no dependency of the project: it gets a folder of its own."""

import multiprocessing
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.faults.library import WORKERS, Ledger, Work, told
from bench.faults.stdlib_executor import note
from bench.faults.tasks import item
from bench.server import ROOT

VERSION = "5.2.3"
FOLDER = ROOT / "build" / "faults" / f"pebble-{VERSION}"
INSTALL_SECONDS_MAX = 120.0


def install() -> Path:
    """The folder with the library, filled if it was not yet.  OSError or SubprocessError if it cannot be."""
    if not (FOLDER / "pebble").is_dir():
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(FOLDER)]
        subprocess.run([*command, f"pebble=={VERSION}"], check=True, timeout=INSTALL_SECONDS_MAX)
    return FOLDER


class PebblePool:
    def start(self) -> None:
        import pebble  # type: ignore[import-not-found]  # it is not there for the type checker

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([item.__module__])
        self._pool = pebble.ProcessPool(WORKERS, context=context)

    @property
    def parent_pid(self) -> int:
        return os.getpid()

    def each(self, work: Work, ledger: Ledger) -> None:
        limit = work.limit_seconds
        futures = {self._pool.schedule(item, args=(x, work.misdeed), timeout=limit): x for x in work.items}
        note(futures, ledger)

    def map(self, work: Work, ledger: Ledger) -> None:
        function = partial(item, misdeed=work.misdeed)
        outputs = self._pool.map(function, work.items, timeout=work.limit_seconds).result()
        for x in work.items:
            try:
                ledger.succeeded(x, next(outputs))
            except StopIteration:
                return
            except BaseException as error:  # of this item alone: the iterator goes on
                ledger.failed(x, told(error))
