"""The figures as Prometheus reads them (docs/metrics.md).

Nothing is registered anywhere: an answer is made of the state at that moment, and each service has its own.  The module
is loaded when it is first asked for: `prometheus_client` takes a MiB that a service without metrics does not need.
"""

from collections.abc import Iterator

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app import __version__
from app.api.traffic import Timed, Traffic
from app.domain.histogram import Histogram
from app.service.figures import Snapshot


def exposed(snapshot: Snapshot, traffic: Traffic, timed: Timed, accept: str) -> tuple[bytes, str]:
    """The text, and its media type, which `accept` has a say in.  Reading /proc may wait for the kernel."""
    encode, media_type = choose_encoder(accept)
    return encode(_Page(snapshot, traffic, timed)), media_type


class _Page(Collector):
    """One answer."""

    def __init__(self, snapshot: Snapshot, traffic: Traffic, timed: Timed) -> None:
        self._snapshot = snapshot
        self._traffic = traffic
        self._timed = timed

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("millpond", "which Millpond this is", {"version": __version__})
        yield from self._work()
        yield from self._workers()
        yield from self._edges()
        yield from ProcessCollector(registry=None).collect()

    def _work(self) -> Iterator[Metric]:
        now = self._snapshot
        jobs = GaugeMetricFamily("millpond_jobs", "jobs that are stored, by status", labels=["status"])
        for status, number in now.jobs.items():
            jobs.add_metric([str(status)], number)
        yield jobs
        yield _gauge("millpond_items_waiting", "items that wait for a worker", now.items_waiting)
        yield _gauge("millpond_items_running", "items that are with a worker", now.items_running)
        results = CounterMetricFamily(
            "millpond_results", "results stored since the start, by outcome", labels=["outcome"]
        )
        results.add_metric(["succeeded"], now.stored.succeeded)
        results.add_metric(["failed"], now.stored.failed)
        yield results
        help_ = "bytes of results stored since the start"
        yield CounterMetricFamily("millpond_result_bytes", help_, value=now.stored.bytes)
        help_ = "bytes of results that are not stored yet"
        yield _gauge("millpond_results_unwritten_bytes", help_, now.bytes_unwritten)
        help_ = "1 while nothing can be stored, and so no item starts"
        yield _gauge("millpond_storage_failing", help_, int(now.storage_failing))

    def _workers(self) -> Iterator[Metric]:
        workers = GaugeMetricFamily(
            "millpond_workers", "workers, by pool and state", labels=["pool", "state"]
        )
        for (pool, state), number in self._snapshot.workers.items():
            workers.add_metric([pool, state], number)
        yield workers
        restarts = CounterMetricFamily(
            "millpond_worker_restarts", "workers replaced since the start, by pool", labels=["pool"]
        )
        for pool, number in self._snapshot.restarts.items():
            restarts.add_metric([pool], number)
        yield restarts

    def _edges(self) -> Iterator[Metric]:
        help_ = "how long a group of writes took to be committed"
        yield _histogram("millpond_store_commit_seconds", help_, self._timed.commits)
        help_ = "how late a timer of the event loop was, ten times a second"
        yield _histogram("millpond_event_loop_lag_seconds", help_, self._timed.loop_lag)
        help_ = "the longest the event loop was held up since the start"
        yield _gauge("millpond_event_loop_lag_seconds_max", help_, self._timed.loop_lag.longest)
        requests = CounterMetricFamily(
            "millpond_http_requests",
            "requests answered since the start",
            labels=["method", "route", "status"],
        )
        for (method, route, status), number in self._traffic.requests.items():
            requests.add_metric([method, route, str(status)], number)
        yield requests
        readers = GaugeMetricFamily(
            "millpond_sse_readers",
            "who reads server-sent events now: of one job, or of all",
            labels=["stream"],
        )
        for stream in ("job", "all"):
            readers.add_metric([stream], self._traffic.readers[stream])
        yield readers


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _histogram(name: str, help_: str, histogram: Histogram) -> Metric:
    buckets = [
        ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in histogram.cumulative()
    ]
    return HistogramMetricFamily(name, help_, buckets=buckets, sum_value=histogram.total)
