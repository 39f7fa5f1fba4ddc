"""Hundreds of stories of the service, each from a seed: faults, deaths, restarts, clock jumps; nothing is ever lost.

As many as find every mistake that is made on purpose (`test_catches`); thousands of others: `make soak`.
"""

import functools
from pathlib import Path

import pytest

from app.domain import digest
from app.service import writer
from tests.simulation.world import World

SEEDS = 200
KEPT = [
    int(line.split()[0])
    for line in Path(__file__).with_name("seeds.txt").read_text().splitlines()
    if not line.startswith("#")
]


@functools.cache
def told(seed: int) -> World:
    """The world at the end of this seed's story, which is told once for all who look at it."""
    return World(seed).run()


@pytest.mark.parametrize("seed", KEPT)
def test_a_mistake_that_was_found_stays_mended(seed: int) -> None:
    """The seed that found it tells its story to the end."""
    World(seed).run()


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_nothing_is_ever_lost(first: int) -> None:
    """Whatever a seed has happen; one that fails goes into seeds.txt once its mistake is mended."""
    for seed in range(first, first + 50):
        try:
            told(seed)
        except Exception as error:
            pytest.fail(f"seed {seed} (again: python -m tests.simulation {seed}): {error!r}")


def test_nothing_is_lost_however_little_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are looked at one by one, and each job is written by itself; changes come in between."""
    monkeypatch.setattr(digest, "STEP_FAILURES", 1)
    monkeypatch.setattr(writer, "FAILURES_MAX", 1)
    monkeypatch.setattr(writer, "JOBS_MAX", 1)
    for seed in range(SEEDS, SEEDS + 100):
        try:
            World(seed).run()
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}")


def test_a_seed_tells_the_same_story_every_time() -> None:
    """So that a failure can be looked at."""
    stories = [World(7).run() for _ in range(2)]

    assert stories[0].store.jobs() == stories[1].store.jobs() != []
    assert stories[0].chance.random() == stories[1].chance.random()


def test_the_stories_are_about_something() -> None:
    """Among them are all ways a job can end, deaths of the service, storage that fails, and results of every kind."""
    worlds = [told(seed) for seed in range(100, 200)]  # of the first hundred, one or none has an expired job
    statuses = {job.status.value for world in worlds for job in world.store.jobs()}
    log = b"".join(s.lines for world in worlds for job in world.store.jobs() for s in world.store.log(job.id))

    assert statuses == {"completed", "cancelled", "failed", "expired"}
    assert b'"output"' in log
    assert b'"error":{"kind":"exception"' in log
    assert b'"kind":"crashed"' in log
    assert b'"attempts":2' in log
    assert {event for world in worlds for event in world.happened} == {
        "died", "stopped", "could not start", "storage failed", "a worker was lost", "the clock jumped",
    }  # fmt: skip
