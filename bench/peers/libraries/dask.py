"""Dask, its distributed scheduler on this machine alone.

Two processes of one thread (docs.dask.org, deploying-python: `LocalCluster`).  One call is a `submit`; many short
ones are a bag, which puts many items into each task, and many long ones `Client.map` (docs.dask.org, best-practices:
"Avoid Very Large Graphs").
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.bag
from distributed import Client, LocalCluster
from distributed import TimeoutError as NothingYet

from bench.peers import functions
from bench.peers.library import WORKERS, Failed, Pending, items_are_long, kill_below

PARTITIONS = 8 * WORKERS


class Dask:
    def start(self) -> None:
        self._cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )
        self._client = Client(self._cluster)

    def crash(self) -> None:
        """Its scheduler lives in the caller's process, and cannot be killed without it: it is closed."""
        kill_below()
        self._client.close()
        self._cluster.close()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        return [self._client.submit(functions.call, name, item, pure=False, retries=0) for item in items]

    def outcome(self, handle: Any, seconds: float) -> Any:
        try:
            return handle.result(timeout=seconds)
        except NothingYet:
            raise Pending from None
        except Exception as error:
            raise Failed(type(error).__name__) from error

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        function = partial(functions.call, name)
        if items_are_long():
            return list(self._client.gather(self._client.map(function, items, pure=False)))
        bag = dask.bag.from_sequence(items, npartitions=PARTITIONS)
        return list(bag.map(function).compute(scheduler=self._client))
