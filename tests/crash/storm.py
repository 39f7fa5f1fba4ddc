"""`python -m tests.crash.storm`: the service is killed at named and at random moments under load, and nothing is lost.

How it works: callers submit, resend what was not answered, follow, cancel and delete, and write down what they were
promised.  Meanwhile the service dies, is verified (`python -m app check`) and started again.  At the end each promise
is compared with what there is.  What dies when, and what callers do, follows from the seed; the machine's timing
does not.

Exit status: 1 if a promise was broken.
"""

# ruff: noqa: T201 -- a command

import argparse
import itertools
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from app.stores.verification import verify
from bench.server import START_SECONDS_MAX, Server
from tests.crash.callers import END_SECONDS_MAX, Caller, Ledger, check_kept

CALLERS = 4
MOMENT_SECONDS_MAX = 3.0
"""A moment that has not come by then is not waited for."""
RANDOM_SECONDS = (0.0, 0.6)
SETTINGS = {
    "MILLPOND_PROCESSES": "2",
    "MILLPOND_TASKS": "workers.tasks,workers.tasks.faults",
    "MILLPOND_PRUNE_SECONDS": "0.05",
    "MILLPOND_DRAIN_SECONDS": "0.3",
}
NUMBERS = {
    "begun": 60, "written": 200, "committing": 60, "committed": 60, "answering": 12, "receiving": 8, "expiring": 20,
    "sweeping": 8, "renaming": 5, "renamed": 5, "recovering": 1, "recovered": 1, "draining": 1,
}  # fmt: skip
"""The moments of a storm, and at which time of each it strikes at the latest."""


class Storm:
    """A service that dies again and again."""

    def __init__(self, data: Path, seed: int, durability: str) -> None:
        self.data = data / "data"
        self.ledger = Ledger()
        self.deaths: Counter[str] = Counter()
        self._seed = f"{seed} {durability}"
        self._chance = random.Random(self._seed)
        self._moment = data / "moment"
        settings = SETTINGS | {
            "MILLPOND_DURABILITY": durability,
            "HARM": "tests.harm.moments,tests.harm.payloads",
        }
        settings["HARM_MOMENT"] = str(self._moment)
        self._server = Server(self.data, settings, "tests.harm")

    def rage(self, kills: int) -> None:
        """Live through so many deaths, and then through none."""
        self._await_ready("none")
        stop = threading.Event()
        callers = [Caller(self._server, self.ledger, stop, f"caller{n}", self._seed) for n in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            for moment in self._plan(kills):
                self._die(moment)
                if self.ledger.flaws:
                    return  # what follows from a flaw tells less than the flaw
        finally:
            stop.set()
        self._await_ready("none")
        for caller in callers:
            caller.join(END_SECONDS_MAX)
            assert not caller.is_alive(), f"{caller.name} waits for an answer"
        self._settle()
        self._server.end()
        self._verify("the end")
        self._check_leftovers()

    def __str__(self) -> str:
        promises = self.ledger.promises
        deaths = ", ".join(f"{count} {moment}" for moment, count in sorted(self.deaths.items()))
        return (
            f"{self.deaths.total()} deaths ({deaths}); {len(promises)} jobs of {sum(len(p.items) for p in promises)}"
            f" items acknowledged, {sum(p.reader is not None for p in promises)} followed,"
            f" {sum(p.cancelling for p in promises)} cancelled, {sum(p.deleted for p in promises)} deleted;"
            f" {len(self.ledger.files)} files; {self.ledger.resent} requests sent again"
        )

    def end(self) -> None:
        """Nothing of it runs any more."""
        if self._server.running:
            self._server.kill()

    def _plan(self, kills: int) -> list[str]:
        """Every moment as often as the others, and a third of the deaths at random times."""
        named = itertools.cycle(NUMBERS)
        plan = ["random" if n % 3 == 2 else next(named) for n in range(kills)]
        self._chance.shuffle(plan)
        return plan

    def _die(self, moment: str) -> None:
        """The service that runs goes, is verified, and the next one starts, which `moment` awaits."""
        if self._server.running:
            self._server.kill()
        self._complain()
        self._verify(f"a death before {moment}")
        if self._await_ready(moment):
            if moment == "draining":
                os.kill(self._server.pid, signal.SIGTERM)
            seconds = self._chance.uniform(*RANDOM_SECONDS) if moment == "random" else MOMENT_SECONDS_MAX
            came = self._server.ended_within(seconds)
        else:
            came = True
        self.deaths[moment if came else "random"] += 1
        self.ledger.deaths += 1

    def _await_ready(self, moment: str) -> bool:
        """Start; whether it lived to be ready."""
        number = self._chance.randint(1, NUMBERS.get(moment, 1))
        self._moment.write_text(f"{moment if moment in NUMBERS else 'copying'} {number}")
        if self._server.running:
            self._server.kill()
        try:
            self._server.start(ready=False)
        except AssertionError:
            if moment not in NUMBERS or self._server.log:
                raise
            return False  # it came by its moment while it opened the store
        with self._server.client() as api:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not self._server.ended_within(0.01):
                assert time.monotonic() < deadline, self._server.read_log()
                try:
                    if api.get("/readyz").is_success:
                        return True
                except httpx.TransportError:
                    continue
        return False

    def _verify(self, when: str) -> None:
        problems = verify(self.data).problems
        self.ledger.flaws += [f"after {when}: {problem}" for problem in problems]

    def _check_leftovers(self) -> None:
        """No part of a submission that never became a job has outlived its caller and a start."""
        with closing(sqlite3.connect(self.data / "millpond.sqlite")) as connection:
            (uploads,) = connection.execute("SELECT count(*) FROM owners WHERE upload IS NOT NULL").fetchone()
        if uploads or list(self.data.rglob(".new-*")):
            self.ledger.flaws.append(
                f"{uploads} broken uploads, or files that have no name yet, were not let go"
            )

    def _complain(self) -> None:
        if "Traceback" in self._server.log:
            self.ledger.flaws.append(self._server.log)

    def _settle(self) -> None:
        """Compare each promise with what there is."""
        with self._server.client() as api:
            for promise in self.ledger.promises:
                try:
                    check_kept(api, promise)
                except AssertionError as error:
                    self.ledger.flaws.append(f"{promise.id}: {error}")
            for file_id, content in self.ledger.files.items():
                if api.get(f"/v1/files/{file_id}").content != content:
                    self.ledger.flaws.append(f"{file_id} is not what was stored")


@contextmanager
def storm(seed: int, durability: str) -> Iterator[Storm]:
    """One over a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="millpond-storm-") as data:
        raging = Storm(Path(data), seed, durability)
        try:
            yield raging
        finally:
            raging.end()


def main(arguments: Sequence[str] | None = None) -> int:
    """Rage, and print what came of it.  The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=120, help="deaths (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of what dies when (default: a new one)")
    parser.add_argument("--durability", choices=("process", "power"), default="process")
    options = parser.parse_args(arguments)
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    began = time.monotonic()
    with storm(seed, options.durability) as raging:
        raging.rage(options.kills)
    print(f"{time.monotonic() - began:.0f} s, durability {options.durability}, seed {seed}: {raging}")
    for flaw in raging.ledger.flaws[:20]:
        print(f"WRONG: {flaw}")
    return 1 if raging.ledger.flaws else 0


if __name__ == "__main__":
    sys.exit(main())
