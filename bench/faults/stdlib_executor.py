"""`concurrent.futures.ProcessPoolExecutor`."""

import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import partial
from typing import Any

from bench.faults.library import WORKERS, Ledger, Work, told
from bench.faults.tasks import item


class StdlibExecutor:
    def start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([item.__module__])
        self._executor = ProcessPoolExecutor(WORKERS, context)

    @property
    def parent_pid(self) -> int:
        return os.getpid()

    def each(self, work: Work, ledger: Ledger) -> None:
        futures: dict[Future[Any], int] = {}
        for x in work.items:
            try:
                futures[self._executor.submit(item, x, work.misdeed)] = x
            except Exception as error:  # from the first worker's death on, nothing more is taken
                ledger.failed(x, told(error))
        note(futures, ledger)

    def map(self, work: Work, ledger: Ledger) -> None:
        outputs = self._executor.map(partial(item, misdeed=work.misdeed), work.items)
        for x, output in zip(work.items, outputs, strict=True):
            ledger.succeeded(x, output)


def note(futures: dict[Future[Any], int], ledger: Ledger) -> None:
    """Enter every future's outcome as it comes."""
    for future in as_completed(futures):
        try:
            ledger.succeeded(futures[future], future.result())
        except BaseException as error:
            ledger.failed(futures[future], told(error))
