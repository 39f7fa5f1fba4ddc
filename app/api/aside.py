"""Work that would hold up the loop, done beside it.

Invariant: what was begun has ended when this returns or raises, also where the request is cancelled meanwhile.
"""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

P = ParamSpec("P")
T = TypeVar("T")


async def beside(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What `work` returns or raises, on a thread of asyncio's own."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
    try:
        return await asyncio.shield(running)
    finally:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])


@asynccontextmanager
async def entered_beside(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """The context, entered and left beside the loop; left as if nothing had been raised."""
    try:
        yield await beside(context.__enter__)
    finally:
        await beside(context.__exit__, None, None, None)


class Framework:
    """What the framework loads when it first reads a file: threads, and what types of files there are.

    That would hold up the loop, so a thread does it; and only then, as most services never need it.
    """

    _loaded = False

    @classmethod
    async def load(cls) -> None:
        """Return once that is there."""
        if not cls._loaded:
            await asyncio.to_thread(_load)
            cls._loaded = True


def _load() -> None:
    mimetypes.init()
    asyncio.run(run_in_threadpool(int))
