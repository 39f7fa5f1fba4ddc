"""Huey on Redis.

Two worker processes by its consumer (huey.readthedocs.io, "Consuming Tasks": `-k process` for work that uses the CPU);
`notify_result`, so that results are waited for and not polled.  Many at once are a task's `map`.
"""

from collections.abc import Sequence
from typing import Any

from huey import RedisHuey
from huey.exceptions import ResultTimeout, TaskException

from bench.peers import functions
from bench.peers.library import LIMIT_SECONDS, WORKERS, Command, Failed, Pending, patient_redis_url

SECONDS_MAX = 300.0

huey = RedisHuey("peers", url=patient_redis_url(), notify_result=True)


@huey.task()
def call(name: str, item: Any) -> Any:
    return functions.call(name, item)


@huey.task(timeout=LIMIT_SECONDS)
def call_briefly(name: str, item: Any) -> Any:
    return functions.call(name, item)


class Huey:
    def __init__(self) -> None:
        options = ("--workers", str(WORKERS), "--worker-type", "process", "--quiet", "--no-periodic")
        self._workers = Command("huey.bin.huey_consumer", f"{__name__}.huey", *options)

    def start(self) -> None:
        self._workers.start()

    def crash(self) -> None:
        self._workers.crash()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        task = call_briefly if name == "hang" else call
        return [task(name, item) for item in items]

    def outcome(self, handle: Any, seconds: float) -> Any:
        try:
            return handle.get(blocking=True, timeout=seconds)
        except ResultTimeout:
            raise Pending from None
        except TaskException as error:
            raise Failed(str(error.metadata.get("error", error)).partition("(")[0]) from error

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        outputs: Sequence[Any] = call.map([(name, item) for item in items]).get(
            blocking=True, timeout=SECONDS_MAX
        )
        return outputs
