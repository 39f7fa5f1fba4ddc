"""A process that kills itself at a named moment: the n-th time that it comes by.

How it works: what the service asks others for is wrapped (SQLite's connections, the renaming of files, the HTTP
server's answers), and a few entrances of the service itself; none of its code knows.  The file that `HARM_MOMENT`
names holds a moment and a number, like `committed 17`.

Invariant: only the death is ours; up to it all is as it would have been.
"""

import functools
import os
import re
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.service.dispatcher import Dispatcher
from app.stores.sqlite import SqliteStore

STEPS = 50
"""Of SQLite's virtual machine, between two looks into a script or a copy."""

MOMENTS = {
    "begun": "a transaction has begun, and nothing is in it",
    "written": "a statement of a transaction has been executed",
    "committing": "everything of a group of writes is there, but their commit",
    "committed": "they are committed, and nobody has been told",
    "answering": "the change is made, and its answer not sent",
    "receiving": "a part of a submission is stored, and more will come",
    "expiring": "a job's time is over, and its row goes",
    "sweeping": "a piece of what was deleted is freed",
    "renaming": "a file is whole, and has not its name",
    "renamed": "it has its name, and nobody has been told",
    "recovering": "the unfinished jobs have been read, and none is taken up",
    "recovered": "they have been taken up, and nobody has been told",
    "draining": "the service was told to stop",
    "scripting": "in the middle of a script that changes the schema",
    "copying": "in the middle of a copy of the database",
}


class Death:
    """Comes at the n-th of a moment."""

    def __init__(self, moment: str, number: int) -> None:
        assert moment in MOMENTS, moment
        self._moment = moment
        self._left = number

    def come(self, moment: str) -> None:
        if moment == self._moment:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


STATEMENTS = {
    "receiving": re.compile(r"\s*INSERT INTO blocks", re.IGNORECASE),
    "expiring": re.compile(r"\s*DELETE FROM jobs\b.*expires_at", re.IGNORECASE | re.DOTALL),
    "sweeping": re.compile(r"\s*DELETE FROM \w+ WHERE rowid", re.IGNORECASE),
    "written": re.compile(r"\s*(INSERT|UPDATE|DELETE)", re.IGNORECASE),
}


def prepare(death: Death) -> None:
    """Have this process meet it."""
    _sqlite(death)
    _files(death)
    _answers(death)
    _after(SqliteStore, "unfinished_jobs", lambda: death.come("recovering"))
    _after(Dispatcher, "start", lambda: death.come("recovered"))
    _before(Dispatcher, "drain", lambda: death.come("draining"))


def _sqlite(death: Death) -> None:
    class Connection(sqlite3.Connection):
        """Comes by some moments with its statements."""

        def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
            if statement == "COMMIT":
                death.come("committing")
            if statement.startswith("VACUUM INTO"):
                self._watched("copying")
            cursor = super().execute(statement, *arguments)
            self._seen(statement)
            return cursor

        def executemany(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
            cursor = super().executemany(statement, *arguments)
            self._seen(statement)
            return cursor

        def executescript(self, script: str) -> sqlite3.Cursor:
            self._watched("scripting")
            return super().executescript(script)

        def _seen(self, statement: str) -> None:
            if statement == "COMMIT":
                death.come("committed")
            elif statement == "BEGIN IMMEDIATE":
                death.come("begun")
            for moment, pattern in STATEMENTS.items():
                if pattern.match(statement):
                    death.come(moment)

        def _watched(self, moment: str) -> None:
            self.set_progress_handler(functools.partial(death.come, moment), STEPS)

    setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection))  # noqa: B010


def _files(death: Death) -> None:
    def around(real: Callable[..., Path]) -> Callable[..., Path]:
        @functools.wraps(real)
        def move(path: Path, target: Path) -> Path:
            death.come("renaming")
            moved = real(path, target)
            death.come("renamed")
            return moved

        return move

    for name in ("replace", "rename"):
        setattr(Path, name, around(getattr(Path, name)))


def _answers(death: Death) -> None:
    real = RequestResponseCycle.send

    async def send(cycle: RequestResponseCycle, message: Any) -> None:
        changes = cycle.scope["method"] in ("POST", "PUT", "DELETE", "PATCH")
        if changes and message["type"] == "http.response.start" and message["status"] < 300:
            death.come("answering")
        await real(cycle, message)

    setattr(RequestResponseCycle, "send", send)  # noqa: B010


def _before(owner: type, name: str, do: Callable[[], None]) -> None:
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(real)
    async def method(*arguments: Any, **named: Any) -> Any:
        do()
        return await real(*arguments, **named)

    setattr(owner, name, method)


def _after(owner: type, name: str, do: Callable[[], None]) -> None:
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(real)
    async def method(*arguments: Any, **named: Any) -> Any:
        result = await real(*arguments, **named)
        do()
        return result

    setattr(owner, name, method)


if path := os.environ.get("HARM_MOMENT"):
    moment, number = Path(path).read_text().split()
    prepare(Death(moment, int(number)))
