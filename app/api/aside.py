"""Work that would hold up the loop, done beside it.

Invariant: what was begun has ended when this returns or raises, also where the request is cancelled meanwhile.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

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
