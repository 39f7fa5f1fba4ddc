"""Whose time has come is told once, at the time that was set last."""

import asyncio
from collections.abc import Sequence

from app.service.timetable import AT_ONCE, Timetable
from tests.simulation.loop import SimulatedLoop

Told = list[tuple[float, str]]


def story(times: Sequence[tuple[float, str, float | None]], seconds: float) -> Told:
    """What is told within so many seconds, of (when, key, after how long; None to forget it)."""
    told: Told = []

    async def tell() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        table: Timetable[str] = Timetable(lambda key: told.append((round(loop.time() - began, 6), key)))
        for at, key, after in times:
            await asyncio.sleep(at - (loop.time() - began))
            if after is None:
                table.forget(key)
            else:
                table.set(key, after)
        await asyncio.sleep(seconds - (loop.time() - began))
        table.stop()
        await asyncio.sleep(3600.0)

    loop = SimulatedLoop()
    try:
        loop.run_until_complete(tell())
    finally:
        loop.close()
    return told


def test_each_is_told_when_its_time_has_come() -> None:
    """Also one that comes later and whose time is before that of the others; what has stopped tells nothing."""
    times = [(0.0, "late", 9.0), (1.0, "soon", 2.0), (1.5, "now", 0.0), (2.0, "never", 90.0)]

    assert story(times, 60.0) == [(1.5, "now"), (3.0, "soon"), (9.0, "late")]


def test_what_was_set_last_counts() -> None:
    """A time that was put off, brought forward or forgotten is told as it is now, or not at all; once in any case."""
    times = [
        (0.0, "off", 5.0),
        (0.0, "forward", 5.0),
        (0.0, "forgotten", 5.0),
        (0.0, "back", 5.0),
        (1.0, "off", 8.0),
        (1.0, "forward", 1.0),
        (1.0, "forgotten", None),
        (1.0, "back", None),
        (2.0, "back", 5.0),
    ]

    assert story(times, 60.0) == [(2.0, "forward"), (7.0, "back"), (9.0, "off")]


def test_a_time_that_is_set_again_and_again_leaves_nothing_behind() -> None:
    """As that of a job whose limit is changed often."""

    async def tell(table: Timetable[str]) -> int:
        for _ in range(10_000):
            table.set("one", 60.0)
        return len(table._heap)

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        assert runner.run(tell(Timetable(lambda _: None))) < AT_ONCE


def test_times_that_were_put_off_give_others_the_loop_too() -> None:
    """All of the same moment: what is stale is told to nobody, and takes as long to be looked at."""

    async def put_off(table: Timetable[str]) -> int:
        keys = [f"{number:04}" for number in range(10 * AT_ONCE)]
        for seconds in (1.0, 60.0):
            for key in keys:
                table.set(key, seconds)
        before = steps_of(asyncio.get_running_loop())
        await asyncio.sleep(30.0)
        return steps_of(asyncio.get_running_loop()) - before

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        assert runner.run(put_off(Timetable(lambda _: None))) >= 10


def test_times_are_told_in_their_order_after_one_was_set_again_and_again() -> None:
    """And what was told is not kept."""
    keys = [f"{number:02}" for number in range(20)]
    told: list[str] = []

    async def tell(table: Timetable[str]) -> None:
        for key in [*keys[::-1], *200 * keys[:1]]:
            table.set(key, 1.0 + float(key))
        await asyncio.sleep(60.0)
        assert table._at == {}

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(tell(Timetable(told.append)))

    assert told == keys


def test_there_is_one_timer_however_many_times_there_are() -> None:
    """Also where each is sooner than those before."""

    async def wake() -> int:
        table: Timetable[int] = Timetable(lambda _: None)
        for number in range(50):
            table.set(number, 100.0 - number)
        before = steps_of(asyncio.get_running_loop())
        await asyncio.sleep(200.0)
        return steps_of(asyncio.get_running_loop()) - before

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        assert runner.run(wake()) <= 50 + 5


def steps_of(loop: asyncio.AbstractEventLoop) -> int:
    """How often it has woken."""
    assert isinstance(loop, SimulatedLoop)
    return loop.steps


def test_whose_telling_fails_does_not_keep_the_others_from_being_told() -> None:
    """That is said on the log, as of any callback."""
    loop = SimulatedLoop()
    loop.set_exception_handler(lambda *_: None)
    told: list[str] = []

    def tell(key: str) -> None:
        told.append(key)
        assert key != "bad"

    async def wait() -> None:
        table: Timetable[str] = Timetable(tell)
        for key in ("bad", "good"):
            table.set(key, 1.0)
        await asyncio.sleep(60.0)

    try:
        loop.run_until_complete(wait())
    finally:
        loop.close()

    assert told == ["bad", "good"]
