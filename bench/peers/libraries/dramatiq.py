"""Dramatiq on Redis.

Two processes of one thread each, since the items use the CPU (dramatiq.io/best_practices, "Concurrent Actors" and
the options of its command); results by its Redis backend (dramatiq.io/cookbook, "Results").  Many at once are a
`group` (dramatiq.io/cookbook, "Composition").
"""

from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import ResultFailure, Results, ResultTimeout
from dramatiq.results.backends.redis import RedisBackend

from bench.peers import functions
from bench.peers.library import LIMIT_SECONDS, WORKERS, Command, Failed, Pending, patient_redis_url

SECONDS_MAX = 300.0
MS = 1_000

broker = RedisBroker(url=patient_redis_url())
broker.add_middleware(Results(backend=RedisBackend(url=patient_redis_url(1))))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, max_retries=0)
def call(name: str, item: Any) -> Any:
    return functions.call(name, item)


class Dramatiq:
    def __init__(self) -> None:
        options = ("--processes", str(WORKERS), "--threads", "1")
        self._workers = Command("dramatiq", __name__, *options)

    def start(self) -> None:
        self._workers.start()

    def crash(self) -> None:
        self._workers.crash()

    def submit(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        options = {"time_limit": LIMIT_SECONDS * MS} if name == "hang" else {}
        return [call.send_with_options(args=(name, item), **options) for item in items]

    def outcome(self, handle: Any, seconds: float) -> Any:
        try:
            return handle.get_result(block=True, timeout=max(1, int(seconds * MS)))
        except ResultTimeout:
            raise Pending from None
        except ResultFailure as error:
            raise Failed(error.orig_exc_type) from error

    def batch(self, name: str, items: Sequence[Any]) -> Sequence[Any]:
        group = dramatiq.group([call.message(name, item) for item in items]).run()
        return list(group.get_results(block=True, timeout=int(SECONDS_MAX * MS)))
