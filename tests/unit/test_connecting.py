"""Clients that connect while the event loop does something else wait for it, and then are taken some at a time."""

import asyncio
import socket
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, cast

from uvicorn.config import Config

from app.api.protocol import Protocol
from app.api.server import TAKEN_MAX, Server, bound

MANY = 8 * TAKEN_MAX
TURNS_MAX = 1_000


def test_who_connects_at_once_with_many_is_connected_and_taken_in_turns() -> None:
    """None is turned away, or has to try again, and others are served between."""
    taken: list[int] = []

    async def story(listener: socket.socket, opened: ExitStack) -> None:
        config = Config(
            cast("Any", None),
            interface="asgi3",
            loop="asyncio",
            http=Protocol,
            lifespan="off",
            log_config=None,
        )
        config.load()
        server = Server(config, cast("Any", None))
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        for _ in range(MANY):  # while the loop is held up
            opened.enter_context(socket.create_connection(listener.getsockname(), timeout=0.5))
        for _ in range(TURNS_MAX):
            taken.append(len(server.server_state.connections))
            if taken[-1] == MANY:
                break
            await asyncio.sleep(0)
        await server.shutdown([listener])

    with bound("127.0.0.1", 0) as listener, ExitStack() as opened:
        asyncio.run(story(listener, opened))

    assert taken[-1] == MANY
    assert max(after - before for before, after in pairwise(taken)) <= TAKEN_MAX
