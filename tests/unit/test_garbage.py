"""Whenever Python looks for garbage nobody is served: it is to find little to look at, and all the garbage there is."""

import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app import garbage
from app.domain.store import Note
from app.garbage import MANY, NOTED, Collector
from app.service.live import LiveJob
from tests.simulation.fate import Item
from tests.simulation.scheduled import Scheduled, scheduled

JOBS = 500
WAITING_MAX = 0.1
"""Objects that Python looks at, for each job that waits."""
LEFT = 10_000
BEGUN_MAX = 0.5
"""And for each that has begun: timers of the loop here, for those that have run."""


@pytest.mark.parametrize("options", [{}, {"job_timeout_seconds": 3600.0}], ids=["", "time limit"])
def test_a_job_that_waits_is_nothing_to_look_at(options: dict[str, Any]) -> None:
    """However many wait, to look for garbage takes a moment."""
    numbers: list[int] = []

    async def story(service: Scheduled) -> None:
        running = [await service.submit(1e9) for _ in range(20)]
        numbers.append(_looked_at(service))
        waiting = [await service.submit(1.0, 1.0, 1.0, **options) for _ in range(JOBS)]
        numbers.append(_looked_at(service))
        assert {live.job.counts.total for live in waiting} == {3}
        assert len(service.dispatcher.live) == len(running) + JOBS

    scheduled(story)

    assert (numbers[1] - numbers[0]) / JOBS <= WAITING_MAX


@pytest.mark.parametrize("fate", ["ok", "fail", "flaky"])
def test_a_job_that_has_begun_is_no_more_to_look_at(fate: str) -> None:
    """Of many that share the workers each soon has a result, or a failure, or an item that is to be tried again."""
    numbers: list[int] = []

    async def story(service: Scheduled) -> None:
        first = Item(0, fate, 1, ms=5.0)
        numbers.append(_looked_at(service))
        lives = [await service.submit(first, 1e9, max_attempts=2) for _ in range(JOBS)]
        while len([live for live in lives if live.chunker.seconds_per_item]) < JOBS - 2:
            await service.dispatcher.bell.wait(service.dispatcher.bell.rings, 3600.0)
        numbers.append(_looked_at(service))

    scheduled(story)

    assert (numbers[1] - numbers[0]) / JOBS <= BEGUN_MAX


def test_a_job_that_has_finished_goes_by_itself() -> None:
    """Nobody looks whether only what it knows knows it, so that is never so: once all else went, who asks is left."""
    lives: list[LiveJob] = []

    async def story(service: Scheduled) -> None:
        items = [Item(0, "ok", ms=5.0), Item(1, "fail", ms=5.0), Item(2, "flaky", 1, ms=5.0)]
        lives.append(await service.submit(*items, max_attempts=2, job_timeout_seconds=60.0))
        await service.end(*lives)

    scheduled(story)
    gc.collect()

    assert sys.getrefcount(lives[0]) == sys.getrefcount(object()) + 1


def test_what_becomes_garbage_after_the_start_is_collected() -> None:
    """What was there by then is not looked at any more, but what knows only each other goes as ever, by itself."""

    class Knowing:
        itself: "Knowing"

    def made() -> weakref.ref[Knowing]:
        knowing = Knowing()
        knowing.itself = knowing
        return weakref.ref(knowing)

    with _serving():
        gone = made()
        kept = [[number] for number in range(10 * gc.get_threshold()[0])]

    assert gone() is None, f"{len(kept)} other objects were made since"


def test_what_much_was_left_of_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """But goes once nobody knows it; and where too much was put aside and is still there, no more is."""

    def put_aside_of(many: list["_Thing"]) -> int:
        gc.collect()
        return gc.get_freeze_count() - before if many else 0

    with _serving():
        before = gc.get_freeze_count()
        few = put_aside_of(_things(MANY // 10))
        much = put_aside_of(_things(LEFT))
        left = gc.get_freeze_count() - before

        monkeypatch.setattr(garbage, "KEPT_MAX", LEFT * 3 // 2)
        kept = _things(LEFT)
        again = put_aside_of(kept)
        too_much = put_aside_of(_things(LEFT))

    assert few == 0
    assert much >= LEFT
    assert left < LEFT / 10
    assert again >= LEFT
    assert too_much <= again


def test_what_cannot_be_referred_to_weakly_is_not_put_aside() -> None:
    """Nobody would know how much of it is still there."""
    with _serving() as collector:
        before = gc.get_freeze_count()
        collector._put_aside([[] for _ in range(LEFT)])

        assert gc.get_freeze_count() <= before


def test_few_objects_are_looked_at_at_a_time_however_many_come() -> None:
    """As of connections, which are not counted."""
    with _serving(), _looked_at_together() as numbers:
        stay = _things(40 * MANY)

    assert stay
    assert max(numbers) < 3 * MANY


def test_few_objects_are_looked_at_at_a_time_where_as_many_go_as_come() -> None:
    """As of viewers that were sent something: Python then has no reason to look, until there are very many."""
    with _serving() as collector:
        stay = _things(20 * MANY)
        gc.collect()
        with _looked_at_together() as numbers:
            for place in range(len(stay)):
                stay[place] = _Thing()
                if place % 100 == 0:
                    collector.note()
            gc.collect()

    assert max(numbers) < 3 * MANY


def test_where_no_more_is_put_aside_all_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more is left, the more has to come before that."""
    monkeypatch.setattr(garbage, "KEPT_MAX", 0)
    full: list[str] = []

    def on_collection(phase: str, what: dict[str, Any]) -> None:
        if what["generation"] == 2:
            full.append(phase)

    with _serving() as collector:
        stay = _things(20 * MANY)
        gc.collect()
        gc.callbacks.append(on_collection)
        for _ in range(NOTED):
            stay += _things(2 * MANY // NOTED)
            collector.note()
        gc.callbacks.remove(on_collection)

    assert not full


class _Thing:
    """What Python looks at, and lets refer to weakly."""

    __slots__ = ("__weakref__", "known")

    def __init__(self) -> None:
        self.known = self.__class__


@contextmanager
def _looked_at_together() -> Iterator[list[int]]:
    """How many objects each collection looks at meanwhile."""
    numbers: list[int] = []

    def on_collection(phase: str, what: dict[str, Any]) -> None:
        if phase == "start":
            numbers.append(sum(len(gc.get_objects(which)) for which in range(what["generation"] + 1)))

    gc.callbacks.append(on_collection)
    yield numbers
    gc.callbacks.remove(on_collection)


def _things(number: int) -> list[_Thing]:
    return [_Thing() for _ in range(number)]


@contextmanager
def _serving() -> Iterator[Collector]:
    """As from when the service listens."""
    thresholds = gc.get_threshold()
    try:
        gc.disable()  # as the start does
        collector = Collector()
        collector.begin()
        yield collector
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*thresholds)
        gc.enable()
        gc.unfreeze()


def _looked_at(service: Scheduled) -> int:
    """How many objects a full collection looks at, without what only the store in memory keeps."""
    service.engine.ran.clear()
    gc.collect()
    return sum(not isinstance(thing, list | Note) for thing in gc.get_objects())
