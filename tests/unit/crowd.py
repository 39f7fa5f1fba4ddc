"""Viewers of a job, on a clock that is only counted: a test is the job's engine, and its writer."""

import asyncio
import random
import re
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from app.api.board import ALL_BYTES_MAX, BATCH_SECONDS, Boards
from app.api.viewer import Viewer
from app.domain.errors import StorageUnavailable
from app.domain.item import Page, View
from app.domain.job import Event as Happening
from app.domain.job import Status, step
from app.service.admission import Limits
from app.service.dispatcher import Dispatcher
from app.service.jobs import Jobs
from app.service.live import LiveJob
from app.stores.memory import MemoryStore
from tests.builders import Log, a_block, a_job
from tests.simulation.engine import ScriptedEngine
from tests.simulation.loop import SimulatedClock, SimulatedLoop

ALL = View()
FAILED = View(outcome="failed")
IN_ORDER = View("index")

_EVENT = re.compile(rb"event: (\w+)\nid: (\d+)\ndata: (.*)\n\n")


class SlowStore(MemoryStore):
    """One whose answers are a little old when they come, as those of another thread are."""

    failing = False

    async def read_results(self, *arguments: Any, **options: Any) -> Page:
        if self.failing:
            raise StorageUnavailable("The disk cannot be read.")
        page = await super().read_results(*arguments, **options)
        await asyncio.sleep(0.003)
        return page


class Service:
    """What viewers see of the service."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop, timedelta())
        self.store = SlowStore()
        self.store.open()
        engine = ScriptedEngine(loop, random.Random(0))
        self.dispatcher = Dispatcher(self.store, engine, self.clock)
        self.jobs = Jobs(self.store, self.dispatcher, engine, self.clock, Limits(10, 1_000_000))
        self.boards = Boards(self.jobs, self.clock)

    async def begin(self, total: int, **members: str) -> "Running":
        """A job of so many items begins to run."""
        job = replace(a_job(total=total, created_at=self.clock.now(), **members), status=Status.RUNNING)
        await self.store.create_job(job, [a_block(0, total)])
        live = LiveJob(job, [], "cpu", 1, now=0.0)  # all of its items are with workers
        self.dispatcher.live[job.id] = live
        return Running(self, live)

    def viewer(self, view: View | None = ALL, cursor: int = 0, ticket: str | None = None) -> "Watching":
        """Somebody who comes now."""
        make_ticket = None if ticket is None else lambda _: ticket
        return Watching(Viewer(self.jobs, self.boards, self.clock, "j", view, cursor, make_ticket))

    @property
    def board_bytes(self) -> int:
        """What all boards hold."""
        return ALL_BYTES_MAX - self.boards._room.bytes_left


class Running:
    """A job that runs as a test wants it."""

    def __init__(self, service: Service, live: LiveJob) -> None:
        self._service = service
        self._live = live
        self.log = Log()

    async def did(self, first: int, failures: Sequence[bool], sizes: Sequence[int] | None = None) -> None:
        """Items from `first` on have ended, some of them as failures; the last one of all ends the job."""
        segment = self.log.segment(first, failures, sizes)
        live, service = self._live, self._service
        segment = live.log(segment.first, segment.count, segment.failed, segment.lines)
        job = live.after([segment], service.clock.now())
        await service.store.append_results([segment], [job], {})
        live.job = job
        live.unwritten -= 1
        if job.status.finished:
            del service.dispatcher.live[job.id]
        live.ring()

    def paused(self) -> None:
        self._live.job = replace(self._live.job, status=step(self._live.job.status, Happening.PAUSE_ASKED))
        self._live.ring()

    def lines(self, view: View, after: int = 0) -> list[bytes]:
        """The view's lines, once the job has ended."""
        entries = self.log.lines if view.order == "completion" else sorted(self.log.lines)
        return [line[:-1] for _, failed, line in entries if failed or view.outcome is None][after:]


class Watching:
    """A viewer, and what it was sent."""

    def __init__(self, viewer: Viewer) -> None:
        self.pieces: list[bytes] = []
        self._events = viewer.events()

    async def to_the_end(self, pause: Callable[[], float] = lambda: 0.0) -> "Watching":
        """Read everything, after each piece at leisure."""
        async for piece in self._events:
            self.pieces.append(bytes(piece))
            if seconds := pause():
                await asyncio.sleep(seconds)
        return self

    async def next(self) -> bytes:
        self.pieces.append(bytes(await anext(self._events)))
        return self.pieces[-1]

    async def leave(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]  # these are generators

    @property
    def events(self) -> list[tuple[str, int, bytes]]:
        """(name, id, data)."""
        return [(name.decode(), int(id_), data) for name, id_, data in _EVENT.findall(b"".join(self.pieces))]

    @property
    def lines(self) -> list[bytes]:
        """Those it was sent; no two of the builders' have a brace next to a comma within them."""
        arrays = [data[len(b'{"results":[') : -2] for name, _, data in self.events if name == "results"]
        return [line for array in arrays for line in re.split(rb"(?<=}),(?={)", array)]

    @property
    def batches(self) -> list[bytes]:
        return [piece for piece in self.pieces if piece.startswith(b"event: results")]


Story = Callable[[Service], Coroutine[None, None, None]]


def told(story: Story) -> None:
    """Let it happen, from beginning to end; a viewer that would wait for ever makes it fail."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(story(Service(loop)))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def moments(count: int) -> None:
    """So many turns pass."""
    await asyncio.sleep(count * BATCH_SECONDS * 1.01)
