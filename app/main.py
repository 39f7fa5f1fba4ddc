"""Composition root: settings → store, pool, service, application, server.

Invariant: only this module names concrete stores, engines and settings; the pool is made in `app.pool`, which it is
given, so that tasks are loaded while this module is imported.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from uvicorn.config import Config

from app.api.app import create_app
from app.api.board import Boards
from app.api.context import Context
from app.api.front import entrance
from app.api.protocol import Protocol
from app.api.server import Server, bound
from app.api.traffic import Timed, Traffic
from app.domain.caller import Quota
from app.domain.clock import SystemClock
from app.domain.histogram import Histogram
from app.garbage import Collector
from app.pool import Launched
from app.service.access import Access
from app.service.admission import Limits
from app.service.appending import Appending
from app.service.control import Control
from app.service.digests import Digests
from app.service.dispatcher import Dispatcher
from app.service.explaining import Explaining
from app.service.figures import Figures
from app.service.files import Files
from app.service.inputs import Inputs
from app.service.inspection import Inspection
from app.service.jobs import Jobs
from app.service.retention import Keeping, Retention
from app.service.seal import SECRET_BYTES, Seal
from app.service.space import Space
from app.service.watchdog import Watchdog
from app.settings import Settings
from app.stores.directory import DataDirectory
from app.stores.ended import EndedSessions
from app.stores.keys import KeyFile
from app.stores.secret import kept_secret
from app.stores.sqlite import SqliteStore
from workers.files import Blobs
from workers.pool import Pool

COMMIT_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.010, 0.020, 0.050, 0.100, 0.500, 2.0)
"""Seconds: from a write in memory to a disk in trouble."""
STALLED_SECONDS = 1
"""How long a connection whose client does not read may hold up the end."""

log = logging.getLogger(__name__)


def build(settings: Settings, launched: Launched, collector: Collector) -> tuple[Server, "Service"]:
    """Everything, wired; nothing opened, and nothing started but the loading of the tasks."""
    engine, blobs = launched.pool, launched.blobs
    clock = SystemClock()
    watchdog = Watchdog(clock)
    timed = Timed(Histogram(COMMIT_BOUNDS), watchdog.lag)
    store = SqliteStore(
        settings.data_dir / "millpond.sqlite",
        settings.durability,
        timed.commits.note,
        on_read=collector.note,
    )
    directory = DataDirectory(settings.data_dir)
    space = Space(
        directory, clock, used_bytes_max=settings.max_disk_bytes, free_bytes_min=settings.min_free_bytes
    )
    dispatcher = Dispatcher(store, engine, clock)
    jobs = Jobs(store, dispatcher, engine, clock, Limits(settings.max_jobs, settings.max_queued_items))
    inspection = Inspection(store, dispatcher, engine)
    keys = KeyFile(settings.key_file) if settings.key_file else None
    service = Service(
        keys, store, blobs, directory, engine, dispatcher, jobs, _retention(settings, store, directory, space)
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watchdog.start()
        starting = asyncio.get_running_loop().create_task(service.start(server.fail))
        try:
            yield
        finally:
            watchdog.stop()
            await service.stop(starting, settings.drain_seconds)

    context = Context(
        settings=settings,
        jobs=jobs,
        control=Control(jobs, dispatcher),
        appending=Appending(jobs, store, dispatcher, clock, settings.max_open_items),
        inputs=Inputs(store, jobs),
        files=Files(store, clock),
        blobs=blobs,
        engine=engine,
        inspection=inspection,
        digests=Digests(store),
        explaining=Explaining(dispatcher, engine),
        figures=Figures(store, dispatcher, engine),
        changes=dispatcher.changes,
        boards=Boards(jobs, clock),
        traffic=Traffic(),
        timed=timed,
        space=space,
        clock=clock,
        access=_access(settings, keys),
    )
    server = Server(_config(create_app(context, lifespan, collector.note)), jobs)
    return server, service


@dataclass(frozen=True, slots=True)
class Service:
    """What is started and stopped, and in which order.

    The store is open before anybody can connect, so that what is wrong with it ends the start.  Then the service
    listens; jobs are taken, and old ones go on, once the workers are there and the unfinished jobs are known.
    """

    keys: KeyFile | None
    store: SqliteStore
    blobs: Blobs
    directory: DataDirectory
    engine: Pool
    dispatcher: Dispatcher
    jobs: Jobs
    retention: Retention

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Everything that outlives the event loop.  ServiceError if there is something wrong with it."""
        if self.keys is not None:
            self.keys.load()
        self.store.open()
        try:
            self.blobs.discard_unfinished()
            self.directory.restore()
            yield
        finally:
            self.store.close()

    async def start(self, fail: Callable[[BaseException], None]) -> None:
        """Begin to work; `fail` hears if that does not succeed."""
        began = time.monotonic()
        try:
            await self.dispatcher.start()
        except Exception as error:
            fail(error)
            return
        self.jobs.open()
        self.retention.start()
        workers = ", ".join(f"{self.engine.size(pool)} {pool}" for pool in self.engine.pools())
        tasks, unfinished = len(self.engine.tasks()), len(self.dispatcher.live)
        took = time.monotonic() - began
        log.info(
            "ready in %.2f s: %d tasks; workers: %s; %d unfinished jobs", took, tasks, workers, unfinished
        )

    async def stop(self, starting: asyncio.Task[None], drain_seconds: float) -> None:
        """Give running items this long, then end everything."""
        starting.cancel()
        await asyncio.wait([starting])
        await self.retention.stop()
        if self.jobs.ready:
            await self.dispatcher.drain(drain_seconds)
            await self.dispatcher.stop()


def _config(app: FastAPI) -> Config:
    return Config(
        entrance(app),
        interface="asgi3",
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        timeout_graceful_shutdown=STALLED_SECONDS,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # the entrance sees to them
        # One request can hold the parser's buffer; a client that sends nothing holds a connection this long.
        timeout_keep_alive=30,
    )


def _access(settings: Settings, keys: KeyFile | None) -> Access:
    # Without keys there are no sessions, and nothing to seal that outlives this process.
    secret = (
        kept_secret(settings.data_dir / "secret", SECRET_BYTES) if keys else secrets.token_bytes(SECRET_BYTES)
    )
    quota = Quota(
        settings.max_jobs_per_caller,
        settings.max_queued_items_per_caller,
        settings.max_stored_bytes_per_caller,
    )
    clock = SystemClock()
    ended = EndedSessions(settings.data_dir / "ended-sessions", clock.now())
    local = settings.auth is None and keys is None
    return Access(keys, quota, Seal(secret), ended, clock, settings.session_seconds, local=local)


def _retention(settings: Settings, store: SqliteStore, directory: DataDirectory, space: Space) -> Retention:
    keeping = Keeping(
        tombstones=settings.tombstone_seconds,
        keys=settings.idempotency_seconds,
        files=settings.file_retention_seconds,
    )
    return Retention(store, directory, space, SystemClock(), keeping, settings.prune_seconds)


def serve(settings: Settings, launched: Launched) -> None:
    """Run until SIGTERM or SIGINT.  Ends by that signal, once everything is put away."""
    with bound(settings.host, settings.port) as listener:
        collector = Collector()
        server, service = build(settings, launched, collector)
        with service.opened():
            collector.begin()
            server.serve_on(listener)
