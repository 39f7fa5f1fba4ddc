"""Ray, on this machine alone.

One call is a remote task.  Many at once go through its `multiprocessing.Pool`, whose `map` puts many items into each
task: its design patterns warn of tasks that are too small (docs.ray.io, ray-core/patterns/too-fine-grained-tasks).
The warden tells it that there is no cluster, as it assumes elsewhere than on Linux: then it listens on loopback only.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.multiprocessing import Pool

from bench.peers import functions
from bench.peers.library import WORKERS, Failed, Pending, items_are_long, kill_below


class Ray:
    def start(self) -> None:
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        self._call = ray.remote(max_retries=0)(functions.call)
        self._pool = Pool(WORKERS)

    def crash(self) -> None:
        """Then the caller forgets what it was connected to: it cannot be told to start again else."""
        kill_below()
        ray.shutdown()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        return [self._call.remote(name, item) for item in items]

    def outcome(self, handle: Any, seconds: float) -> Any:
        try:
            return ray.get(handle, timeout=seconds)
        except GetTimeoutError:
            raise Pending from None
        except (RayError, ValueError) as error:
            raise Failed(type(error).__name__) from error

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        chunksize = 1 if items_are_long() else None
        outputs: Sequence[Any] = self._pool.map(partial(functions.call, name), items, chunksize=chunksize)
        return outputs
