"""Servers that do next to nothing: an application under the same uvicorn, and what a job needs, step by step.

    STEP=answer python -m bench.bare    reads the number that was sent, and answers with its square
    STEP=call python -m bench.bare      has `Pool.apply_async` make the square, in another process
    STEP=keep python -m bench.bare      also has what was sent on disk before, and the square before it answers

What is kept is two rows a request and no more, written by one thread that commits all that waits together, as the
service does.  Nothing here is checked, looked up, shared fairly, or survives anything but the end of the process.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from bench.scale import WORKERS
from workers.tasks.numbers import square

STEPS = ("answer", "call", "keep")
ANSWER_BYTES = 1_100
"""About what a job of one item is answered with."""

_FRAME = b'{"results":[{"index":0,"output":%d}],"as_long_as_a_job":"%b"}'
_Square = Callable[[bytes, int], Awaitable[int]]


class Submission(msgspec.Struct):
    """What is looked at of one."""

    items: list[int]


_decode = msgspec.json.Decoder(Submission).decode


class Application:
    """Answers every request with a body as a submission, any other with nothing (ASGI)."""

    def __init__(self, make: _Square) -> None:
        self._make = make

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http", scope["type"]
        body = (await receive())["body"]
        answer = b"{}"
        if body:
            output = await self._make(body, _decode(body).items[0])
            answer = _FRAME % (output, b"." * (ANSWER_BYTES - len(_FRAME)))
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


async def itself(_: bytes, number: int) -> int:
    """The square, made where it is asked for."""
    return square(number)


class Caller:
    """Has a pool make squares, and the loop wait for them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def make(self, _: bytes, number: int) -> int:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[int] = loop.create_future()
        self._pool.apply_async(
            square, (number,), callback=lambda output: loop.call_soon_threadsafe(made.set_result, output)
        )
        return await made


class Keeper:
    """The same between two rows, each of which is committed before anything follows from it."""

    def __init__(self, caller: Caller, path: Path) -> None:
        self._caller = caller
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")  # as the service does, unless told otherwise
        self._connection.execute("CREATE TABLE kept (id INTEGER PRIMARY KEY, row BLOB)")
        self._waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._write_forever, daemon=True).start()

    async def make(self, body: bytes, number: int) -> int:
        await self._keep(body)
        output = await self._caller.make(body, number)
        await self._keep(b"%d" % output)
        return output

    async def _keep(self, row: bytes) -> None:
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put((row, kept))
        await kept

    def _write_forever(self) -> None:
        while True:
            group = [self._waiting.get()]
            while not self._waiting.empty():
                group.append(self._waiting.get())
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO kept (row) VALUES (?)", [(row,) for row, _ in group])
            self._connection.execute("COMMIT")
            group[0][1].get_loop().call_soon_threadsafe(_answer, [kept for _, kept in group])


def _answer(group: list[asyncio.Future[None]]) -> None:
    for kept in group:
        kept.set_result(None)


def main(step: str) -> None:
    """Serve on a free port until told to stop; what is kept goes to `MILLPOND_DATA_DIR`."""
    if step == "answer":
        _serve(itself)
        return
    with get_context("forkserver").Pool(WORKERS) as pool:
        caller = Caller(pool)
        path = Path(os.environ["MILLPOND_DATA_DIR"]) / "kept.sqlite"
        _serve(caller.make if step == "call" else Keeper(caller, path).make)


def _serve(make: _Square) -> None:
    application = Application(make)
    uvicorn.run(application, port=0, loop="uvloop", http="httptools", access_log=False, lifespan="off")


if __name__ == "__main__":
    main(os.environ["STEP"])
