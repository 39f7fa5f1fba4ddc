"""A story that a seed tells: lives of the service, one after the other, over one store, and what befalls them.

How it works: each life has an event loop of its own, on which simulated time goes on where the last one ended.  A
life ends by being told to stop, or by dying: then its store and its engine are dead from one step to the next, and
what its coroutines still do changes nothing.  Callers outlive it and come back.

Invariant: the same seed tells the same story.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app.domain.errors import ServiceError
from app.domain.job import Job
from app.service.admission import Limits
from app.service.appending import Appending
from app.service.control import Control
from app.service.dispatcher import Dispatcher
from app.service.inputs import Inputs
from app.service.jobs import Jobs
from app.service.retention import Keeping, Retention
from app.service.space import Space
from app.stores.memory import MemoryStore
from tests.simulation.callers import Caller
from tests.simulation.engine import ScriptedEngine
from tests.simulation.invariants import Prefixes, Violation, Watch, hold
from tests.simulation.loop import STEPS_MAX, Endless, SimulatedClock, SimulatedLoop, Stuck
from tests.simulation.store import Crashed, FaultyStore, as_store

CALLERS = (1, 6)
LIVES = (1, 5)
LIFE_SECONDS = (0.02, 8.0)
END_SECONDS_MAX = 7200.0
"""In the last life nothing bad happens any more: by then everything must have come to its end."""
BATCH_BYTES = 200
"""So that most uploads are stored while they come, and some with their job."""
FAULT_SHARES = (0.0, 0.0, 0.05, 0.3, 1.0)
JUMPS = (timedelta(hours=-1), timedelta(hours=-1), timedelta(hours=1), timedelta(days=2))


@dataclass
class World:
    """What outlives the service."""

    seed: int
    chance: random.Random = field(init=False)
    store: MemoryStore = field(default_factory=MemoryStore)
    prefixes: Prefixes = field(default_factory=Prefixes)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    jump: timedelta = field(default_factory=timedelta)
    happened: set[str] = field(default_factory=set)
    """What befell the service, in words."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.watch = Watch(self.store)
        self.callers = [
            Caller(name, self.chance, self.prefixes) for name in range(self.chance.randint(*CALLERS))
        ]

    def run(self) -> "World":
        """Tell the story to its end.  Violation at the first step where something is not as it must be."""
        lives = self.chance.randint(*LIVES)
        with _listening(self.violations):
            for number in range(1, lives + 1):
                Life(self).live(last=number == lives)
                hold(not self.violations, "nothing unforeseen happens", *self.violations)
        for job in self.store.jobs():
            hold(job.status.finished or self.is_nobodys(job), "every job comes to an end", job)
        hold(not self.store.uploads(), "a broken upload leaves nothing", self.store.uploads())
        return self

    def is_nobodys(self, job: Job) -> bool:
        """Whether it is open, and done, and no caller's: its answer was lost, or its key forgotten and used anew."""
        known = {caller.job_id for caller in self.callers}
        return not job.sealed and job.counts.done == job.counts.total and job.id not in known


class Life:
    """One run of the service."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._loop = SimulatedLoop(world.seconds)
        self._loop.set_exception_handler(self._unhandled)
        world.store.open()
        self.clock = SimulatedClock(self._loop, world.jump)
        self.store = FaultyStore(world.store, world.watch, self._chance)
        self.engine = ScriptedEngine(self._loop, self._chance)
        self.dispatcher = Dispatcher(as_store(self.store), self.engine, self.clock, self._chance.random)
        limits = Limits(jobs_max=1000, queued_items_max=100_000)
        self.jobs = Jobs(
            as_store(self.store), self.dispatcher, self.engine, self.clock, limits, self._new_id, BATCH_BYTES
        )
        self.control = Control(self.jobs, self.dispatcher)
        self.appending = Appending(
            self.jobs, as_store(self.store), self.dispatcher, self.clock, items_max=100_000
        )
        self.inputs = Inputs(as_store(self.store), self.jobs)
        disk = _NoDisk()
        space = Space(disk, self.clock, used_bytes_max=None, free_bytes_min=0)
        keeping = Keeping(tombstones=7 * 86400.0, keys=86400.0, files=86400.0)
        self.retention = Retention(as_store(self.store), disk, space, self.clock, keeping, 0.7)

    def live(self, *, last: bool) -> None:
        """From start to end; in the last life the callers come to their ends, too."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live(last=last))
        except Stuck:
            raise Violation("somebody waits for what will never come") from None
        except Endless:
            raise Violation(f"a life has an end: this one has none after {STEPS_MAX} steps") from None
        finally:
            self._bury()

    async def _live(self, *, last: bool) -> None:
        seconds = END_SECONDS_MAX if last else self._chance.uniform(*LIFE_SECONDS)
        weather = None if last else self._loop.create_task(self._weather())
        try:
            await asyncio.wait_for(self._start(), None if last else seconds)
        except (ServiceError, TimeoutError):
            self._world.happened.add("could not start")
            return
        callers = [self._loop.create_task(caller.run(self)) for caller in self._world.callers]
        done, pending = await asyncio.wait(
            callers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION if last else asyncio.ALL_COMPLETED
        )
        for task in done:
            task.result()
        if last:
            hold(not pending, "every caller comes to an end", self._world.callers)
            await self._settle()
        if last or self._chance.random() < 0.3:
            if weather is not None:
                weather.cancel()
            await self._stop()
        self._world.happened.add("died" if self.engine.running else "stopped")

    async def _start(self) -> None:
        await self.dispatcher.start()
        self.jobs.open()
        self.retention.start()

    async def _stop(self) -> None:
        """As on SIGTERM."""
        self.jobs.close()
        await self.retention.stop()
        await self.dispatcher.drain(self._chance.choice((0.0, 0.3, 2.0)))
        await self.dispatcher.stop()

    async def _settle(self) -> None:
        """Jobs whose submission was answered to nobody also come to an end."""
        deadline = self._loop.time() + END_SECONDS_MAX
        while self._unsettled() and self._loop.time() < deadline:
            await self.dispatcher.bell.wait(self.dispatcher.bell.rings, 10.0)

    def _unsettled(self) -> bool:
        return not all(self._world.is_nobodys(live.job) for live in self.dispatcher.live.values())

    async def _weather(self) -> None:
        """What happens to the service from outside."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1.0))
            match self._chance.randrange(4):
                case 0:
                    self._happens("storage failed")
                    self.store.fault_share = self._chance.choice(FAULT_SHARES)
                case 1:
                    self._happens("a worker was lost")
                    self.engine.kill_one()
                case 2:
                    self._happens("the clock jumped")
                    self.clock.jump += self._chance.choice(JUMPS)
                case _:
                    self.store.fault_share = 0.0

    def _happens(self, event: str) -> None:
        self._world.happened.add(event)

    def _bury(self) -> None:
        """Nothing of it has an effect any more."""
        self.store.die()
        self.engine.die()
        self._loop.set_exception_handler(lambda *_: None)
        for _ in range(3):  # what is cancelled may start something to clean up
            if tasks := asyncio.all_tasks(self._loop):
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
                _let_go(tasks)
        self._world.seconds = self._loop.time()
        self._world.jump = self.clock.jump
        asyncio.set_event_loop(None)
        self._loop.close()

    def _new_id(self, now: datetime) -> str:
        return f"id-{now:%H%M%S}-{self._chance.randrange(1 << 40):010x}"

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Crashed):
            self._world.violations.append(f"{context.get('message')}: {error!r}")


def _let_go(tasks: set["asyncio.Task[Any]"]) -> None:
    """Have looked at what became of them."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()


class _listening(logging.Handler):  # noqa: N801 -- read as a verb: `with _listening(…)`
    """An edge that swallows an unforeseen error logs it: here it counts."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard
        self._app = logging.getLogger("app")

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], Crashed | ServiceError):
            self._heard.append(f"{record.getMessage()}: {record.exc_info[1]!r}")

    def __enter__(self) -> None:
        self._propagated, self._app.propagate = self._app.propagate, False
        self._app.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._app.removeHandler(self)
        self._app.propagate = self._propagated


class _NoDisk:
    """A `Disk` without an end, and a `FileDirectory` without files."""

    def free(self) -> tuple[int, int]:
        return 1 << 40, 1 << 40

    async def used(self) -> int:
        return 0

    async def sections(self) -> Sequence[Path]:
        return ()

    async def older(self, section: Path, before: float) -> Sequence[str]:
        raise NotImplementedError

    async def remove(self, file_ids: Sequence[str], before: float) -> int:
        raise NotImplementedError
