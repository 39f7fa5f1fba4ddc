"""Composition root: settings → store, pool, service, application, server.

Invariant: only this module names concrete stores, engines and settings.
"""

import asyncio
import fcntl
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.api.app import create_app
from app.api.context import Context
from app.api.protocol import Protocol
from app.domain.clock import SystemClock
from app.domain.errors import ServiceError
from app.service.dispatcher import Dispatcher
from app.service.files import Files
from app.service.inspection import Inspection
from app.service.jobs import Jobs, Limits
from app.service.retention import Keeping, Retention
from app.service.space import Space
from app.settings import Settings
from app.stores.directory import DataDirectory
from app.stores.sqlite import SqliteStore
from workers.files import Blobs
from workers.limits import ChildLimits, cpu_limit, default_processes
from workers.memory import Cgroup, MemoryGuard
from workers.pool import Pool

STALLED_SECONDS = 1
"""How long a connection whose client does not read may hold up the end."""

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Ends open streams at the first sign of a stop; uvicorn would wait for them for ever."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs) -> None:
        super().__init__(config)
        self._jobs = jobs

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._jobs.close)
        super().handle_exit(sig, frame)


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Hold the data directory; ServiceError if another process does."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise ServiceError(
                f"{directory} belongs to a Millpond that runs (process {owner});"
                " stop it, or set MILLPOND_DATA_DIR to another directory"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def build(settings: Settings) -> Server:
    """Everything, wired; nothing started."""
    clock = SystemClock()
    blobs = Blobs(settings.data_dir.absolute() / "files", durable=settings.durability == "power")
    store = SqliteStore(settings.data_dir / "millpond.sqlite", settings.durability)
    guard = MemoryGuard(Cgroup.find())
    sizes = {
        "cpu": settings.processes or default_processes(cpu_limit(), guard.limit_bytes),
        "io": settings.io_processes,
    }
    directory = DataDirectory(settings.data_dir)
    space = Space(directory, used_bytes_max=settings.max_disk_bytes, free_bytes_min=settings.min_free_bytes)
    retention = _retention(settings, store, directory, space)
    engine = Pool(sizes, settings.tasks, blobs, _limits(settings, guard), guard)
    dispatcher = Dispatcher(store, engine, clock)
    jobs = Jobs(store, dispatcher, engine, clock, Limits(settings.max_jobs, settings.max_queued_items))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        blobs.discard_unfinished()
        directory.restore()
        store.open()
        await dispatcher.start()
        retention.start()
        workers = ", ".join(f"{engine.size(pool)} {pool}" for pool in engine.pools())
        log.info("%d tasks; workers: %s", len(engine.tasks()), workers)
        try:
            yield
        finally:
            await retention.stop()
            await dispatcher.drain(settings.drain_seconds)
            await dispatcher.stop()
            store.close()

    context = Context(
        settings,
        jobs,
        Files(store, clock),
        blobs,
        engine,
        Inspection(store, dispatcher, engine),
        space,
        clock,
    )
    config = uvicorn.Config(
        create_app(context, lifespan),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        timeout_graceful_shutdown=STALLED_SECONDS,
        log_config=None,
        server_header=False,
        # One request can hold the parser's buffer; a client that sends nothing holds a connection this long.
        timeout_keep_alive=30,
    )
    return Server(config, jobs)


def _limits(settings: Settings, guard: MemoryGuard) -> ChildLimits:
    return ChildLimits(
        settings.max_tasks_per_child or sys.maxsize,
        settings.max_memory_per_child,
        settings.worker_memory_bytes or guard.headroom_bytes(),
    )


def _retention(settings: Settings, store: SqliteStore, directory: DataDirectory, space: Space) -> Retention:
    keeping = Keeping(
        tombstones=settings.tombstone_seconds,
        keys=settings.idempotency_seconds,
        files=settings.file_retention_seconds,
    )
    return Retention(store, directory, space, SystemClock(), keeping, settings.prune_seconds)


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.  Ends by that signal, once everything is put away."""
    with owned(settings.data_dir):
        build(settings).run()
