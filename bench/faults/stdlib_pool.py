"""`multiprocessing.Pool`."""

import multiprocessing
import os
from functools import partial

from bench.faults.library import WORKERS, Ledger, Work, told
from bench.faults.tasks import item


class StdlibPool:
    def start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([item.__module__])
        self._pool = context.Pool(WORKERS)

    @property
    def parent_pid(self) -> int:
        return os.getpid()

    def each(self, work: Work, ledger: Ledger) -> None:
        results = [
            self._pool.apply_async(
                item,
                (x, work.misdeed),
                callback=partial(ledger.succeeded, x),
                error_callback=partial(_fail, ledger, x),
            )
            for x in work.items
        ]
        for result in results:
            result.wait()

    def map(self, work: Work, ledger: Ledger) -> None:
        outputs = self._pool.map(partial(item, misdeed=work.misdeed), work.items)
        for x, output in zip(work.items, outputs, strict=True):
            ledger.succeeded(x, output)


def _fail(ledger: Ledger, x: int, error: BaseException) -> None:
    ledger.failed(x, told(error))
