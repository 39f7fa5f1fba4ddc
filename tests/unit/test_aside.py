"""Work beside the loop is not left behind."""

import asyncio
import threading

import pytest

from app.api.aside import beside


def test_what_was_begun_has_ended_when_its_caller_is_cancelled() -> None:
    """However often: what it works with may be closed after that."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)
        ended.set()

    async def story() -> None:
        task = asyncio.create_task(beside(work))
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(story())


def test_what_it_raises_is_raised() -> None:
    """Where it was called."""
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(beside(int, "x"))
