"""Worker time is shared fairly, and chunks are as large as that allows."""

import random
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.chunking import (
    ALONE_SECONDS,
    FIRST_MAX,
    FLOOR_SECONDS,
    GROWTH,
    ITEMS_MAX,
    TARGET_SECONDS,
    Chunker,
    staggered,
)
from app.domain.job import Priority
from app.domain.share import HEAD_START_SECONDS, WEIGHTS, FairShare


@dataclass(frozen=True)
class Job:
    """A party that wants worker time, in chunks of about this length."""

    name: str
    weight: float = 1.0
    chunk_seconds: float = 0.05


def served(share: FairShare[str], jobs: list[Job], seconds: float, seed: int = 0) -> Counter[str]:
    """Seconds that each job was given; each chunk is charged by an estimate and then corrected."""
    chance = random.Random(seed)
    by_name = {job.name: job for job in jobs}
    given_: Counter[str] = Counter()
    while given_.total() < seconds:
        name = share.first()
        assert name is not None
        took = by_name[name].chunk_seconds * chance.uniform(0.5, 1.5)
        share.charge(name, by_name[name].chunk_seconds)
        share.charge(name, took - by_name[name].chunk_seconds)
        given_[name] += took  # type: ignore[assignment]  # seconds, not ones
    return given_


def joined(jobs: list[Job]) -> FairShare[str]:
    share: FairShare[str] = FairShare()
    for job in jobs:
        share.join(job.name, job.weight)
    return share


@pytest.mark.parametrize("other_chunk_seconds", [0.05, 0.005, 0.5])
def test_two_equal_jobs_get_the_same_time(other_chunk_seconds: float) -> None:
    """Within a tenth, however different their chunks."""
    jobs = [Job("a"), Job("b", chunk_seconds=other_chunk_seconds)]

    seconds = served(joined(jobs), jobs, 60)

    assert seconds["a"] == pytest.approx(seconds["b"], rel=0.1)


@given(
    weights=st.lists(st.sampled_from(sorted(WEIGHTS.values())), min_size=2, max_size=6),
    seed=st.integers(0, 99),
)
def test_time_is_shared_by_weight(weights: list[float], seed: int) -> None:
    """Within a tenth of what each is due, and one chunk."""
    jobs = [Job(str(number), weight) for number, weight in enumerate(weights)]

    seconds = served(joined(jobs), jobs, 60, seed)

    for job in jobs:
        due = seconds.total() * job.weight / sum(weights)
        assert seconds[job.name] == pytest.approx(due, rel=0.1, abs=0.1)


def test_nobody_starves() -> None:
    """One of low priority among ten of high is served before each of them had much."""
    jobs = [Job("low", WEIGHTS["low"]), *(Job(f"high{number}", WEIGHTS["high"]) for number in range(10))]
    share = joined(jobs)
    served(share, jobs, 20)
    turns = 0
    while share.first() != "low":
        name = share.first()
        assert name is not None
        share.charge(name, 0.05)
        turns += 1

    assert turns <= 10 * WEIGHTS["high"] / WEIGHTS["low"] + 10


@pytest.mark.parametrize("seconds", [0.0005, 0.005, 0.05, 0.5])
@pytest.mark.parametrize("priority", ["normal", "high"])
def test_a_stream_of_new_jobs_overtakes_nobody_for_ever(priority: Priority, seconds: float) -> None:
    """There is always a new one that wants a worker; what a low one waits is what its weight says, and bounded."""
    share: FairShare[str] = FairShare()
    share.join("low", WEIGHTS["low"])
    weight = WEIGHTS[priority]
    waited: list[float] = []
    since = 0.0
    for number in range(20_000):
        share.join(f"new{number}", weight)
        name = share.first()
        assert name is not None
        if name == "low":
            share.charge(name, 0.05)
            waited.append(since)
            since = 0.0
            share.leave(f"new{number}")  # another will come in its place
        else:
            share.charge(name, 0.001)  # what is assumed of an item that nobody has measured
            share.leave(name)
            share.charge_absent(weight, seconds - 0.001)
            since += seconds

    low = WEIGHTS["low"]
    most = (0.05 / low + HEAD_START_SECONDS) * (weight + low) + 2 * seconds
    assert len(waited) > 3
    assert max(waited) <= most
    assert since <= most


def test_a_new_job_is_next() -> None:
    """It does not wait for what its elders were given before it came."""
    jobs = [Job("old"), Job("older")]
    share = joined(jobs)
    served(share, jobs, 30)

    share.first()
    share.join("new", 1.0)
    share.charge("old", 0.05)
    share.charge("older", 0.05)

    assert share.first() == "new"


def test_a_new_job_is_not_paid_for_the_time_before_it_came() -> None:
    """From its start on it gets its share, no more."""
    jobs = [Job("old")]
    share = joined(jobs)
    served(share, jobs, 30)
    share.join("new", 1.0)

    seconds = served(share, [Job("old"), Job("new")], 30)

    assert seconds["new"] == pytest.approx(seconds["old"], rel=0.1)


def test_stepping_aside_gains_nothing() -> None:
    """Who leaves after each chunk and joins again gets no more than who stays."""
    share = joined([Job("stays"), Job("leaves")])
    seconds = Counter[str]()
    for _ in range(1000):
        name = share.first()
        assert name is not None
        share.charge(name, 0.05)
        seconds[name] += 1
        time = share.leave("leaves")
        assert "leaves" not in share
        share.join("leaves", 1.0, time)

    assert seconds["leaves"] == pytest.approx(500, abs=2)


def test_who_is_not_here_is_not_served() -> None:
    """To leave, to join or to be charged once too often is harmless."""
    share: FairShare[str] = FairShare()
    assert share.first() is None
    share.charge("a", 1.0)
    assert share.leave("a") == 0.0

    share.join("a", 1.0)
    share.charge("a", 2.0)
    share.join("a", 1.0)
    assert share.leave("a") == 2.0
    assert share.first() is None


def test_what_is_remembered_does_not_grow_with_time() -> None:
    """A million charges leave no trace."""
    share = joined([Job("a"), Job("b")])
    for _ in range(20_000):
        share.charge("b", 1.0)  # never first: nothing stale is ever popped

    assert len(share._heap) < 100


# -- Chunks


def test_items_that_only_wait_for_a_processor_share_what_is_done_for_each() -> None:
    """On a busy machine a tiny item seems to take many times as long; one of 0.15 ms is not."""
    seemingly, truly = Chunker("auto"), Chunker("auto")

    seemingly.report(1_000, 1_000 * 25e-6)
    truly.report(1_000, 1_000 * 150e-6)

    assert seemingly.light
    assert not truly.light


@given(
    costs=st.lists(st.floats(1e-8, 10), min_size=1, max_size=60),
    left=st.integers(1, 10**6),
    workers=st.integers(1, 64),
)
def test_a_chunk_holds_something_and_never_too_much(costs: list[float], left: int, workers: int) -> None:
    """At least one item, no more than are left, and at most four times the largest so far."""
    chunker = Chunker("auto")
    assert chunker.size(left, workers) == 1
    largest = 0
    for cost in costs:
        size = chunker.size(left, workers)
        assert 1 <= size <= min(left, ITEMS_MAX)
        assert size <= max(1, GROWTH * largest)
        chunker.report(size, size * cost)
        largest = max(largest, size)


@pytest.mark.parametrize(
    ("usual_seconds", "size"),
    [(None, 1), (1.0, 1), (FLOOR_SECONDS, 1), (FLOOR_SECONDS / 8, 8), (1e-6, FIRST_MAX)],
)
def test_a_job_begins_with_what_took_next_to_no_time_lately(usual_seconds: float | None, size: int) -> None:
    """As it does with one item where nothing is known, or where one is worth sending by itself."""
    assert Chunker("auto").size(10**6, 2, usual_seconds=usual_seconds) == size
    assert Chunker("auto").size(3, 2, usual_seconds=usual_seconds) == min(size, 3)
    assert Chunker(5).size(10**6, 2, usual_seconds=usual_seconds) == 5


def test_what_is_usual_says_nothing_once_the_job_is_measured() -> None:
    """Its own items may be others."""
    chunker = Chunker("auto")
    chunker.report(FIRST_MAX, FIRST_MAX * 1.0)

    assert chunker.size(10**6, 2, usual_seconds=1e-6) == 1


@given(size=st.integers(1, 10**6), left=st.integers(1, 10**6), cost=st.floats(1e-6, 10))
def test_a_size_that_was_asked_for_is_obeyed(size: int, left: int, cost: float) -> None:
    """Whatever was measured; only the last chunk is smaller."""
    chunker = Chunker(size)
    chunker.report(1, cost)

    assert chunker.size(left, 4) == min(size, left)


@given(
    cost=st.floats(1e-6, 1),
    workers=st.integers(1, 64),
    seconds=st.sampled_from([TARGET_SECONDS, ALONE_SECONDS]),
)
def test_chunks_of_a_long_job_take_the_target_time(cost: float, workers: int, seconds: float) -> None:
    """Once it is known what an item takes; a slow item travels alone."""
    chunker = Chunker("auto")
    for _ in range(12):
        size = chunker.size(10**9, workers, seconds)
        chunker.report(size, size * cost)

    wanted = min(ITEMS_MAX, max(1, seconds / cost))
    assert chunker.size(10**9, workers, seconds) == pytest.approx(wanted, abs=1)
    assert chunker.estimate(10) == pytest.approx(10 * cost)


@given(cost=st.floats(1e-3, 0.02), left=st.integers(1, 200), workers=st.integers(1, 16))
def test_the_end_of_a_job_is_shared_by_all_workers(cost: float, left: int, workers: int) -> None:
    """No chunk holds more than its part of what is left, unless that is not worth sending."""
    chunker = Chunker("auto")
    for _ in range(10):
        size = chunker.size(10**6, workers)
        chunker.report(size, size * cost)

    assert chunker.size(left, workers) <= max(-(-left // (2 * workers)), FLOOR_SECONDS / cost)


def test_chunks_of_jobs_that_share_the_workers_do_not_all_take_the_same() -> None:
    """Else all workers are free at once, and who comes after that waits for a whole chunk; none takes more."""
    parts = [staggered(1.0, number) for number in range(100)]

    assert min(parts) >= 0.5
    assert max(parts) <= 1.0
    assert max(later - earlier for earlier, later in pairwise(sorted(parts))) < 0.02
    assert min(abs(later - earlier) for earlier, later in pairwise(parts)) > 0.15


def test_one_odd_item_does_not_stand_for_the_job() -> None:
    """The first reports are averaged."""
    chunker = Chunker("auto")
    chunker.report(1, 1.0)
    chunker.report(1, 0.001)

    assert chunker.seconds_per_item == pytest.approx(0.5005)


def test_nothing_is_estimated_before_anything_was_measured() -> None:
    """None, so that nobody mistakes it for a measurement."""
    assert Chunker("auto").estimate(3) is None


def test_another_weight_counts_from_now_on() -> None:
    """What was given before is not reckoned again."""
    jobs = [Job("a"), Job("b")]
    share = joined(jobs)
    served(share, jobs, 10)

    share.join("a", 4.0)
    seconds = served(share, jobs, 60)

    assert seconds["a"] == pytest.approx(4 * seconds["b"], rel=0.1)


def test_who_steps_aside_for_a_moment_keeps_its_place() -> None:
    """Before those that came after it, unless it was charged meanwhile."""
    share = FairShare[str]()
    for name in ("a", "b", "c"):
        share.join(name, 1.0)
    place, time = share.place("a"), share.leave("a")
    share.join("a", 1.0, time, place)
    first = sorted("abc", key=share.turn)
    place, time = share.place("a"), share.leave("a")
    share.join("a", 1.0, time + share.charge_absent(1.0, 1.0), None)

    assert first == ["a", "b", "c"]
    assert share.order() == [share.turn(name) for name in ("b", "c", "a")]
    assert share.place("d") is None
