"""What a task limits itself to holds for all its jobs together, to the letter, and holds nobody else up."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.simulation.fate import Item
from tests.simulation.scheduled import Scheduled, scheduled


def limits(max_concurrency: int | None = None, starts_per_second: float | None = None) -> Mapping[str, Any]:
    return {"max_concurrency": max_concurrency, "starts_per_second": starts_per_second}


@pytest.mark.parametrize(("task", "most"), [("work", 1), ("wait", 1), ("wait", 2)])
def test_so_many_items_run_at_once_and_no_more(task: str, most: int) -> None:
    """Of two jobs together, side by side in one worker or not; and no fewer, while there are any."""

    async def story(service: Scheduled) -> None:
        jobs = [await service.submit(*[20.0] * 30, task=task, max_attempts=2) for _ in range(2)]
        await service.end(*jobs)

    service = scheduled(story, **{task: limits(most)})

    ran = service.engine.ran
    assert len(ran) == 60
    assert max(item.beside for item in ran) == most
    assert ran[-1].at < 60 * 0.020 / most + 1.0


@pytest.mark.parametrize("rate", [0.5, 10.0, 300.0, 5000.0])
def test_items_start_as_often_as_their_task_says(rate: float) -> None:
    """As a stream, not in volleys; each further attempt counts."""

    async def story(service: Scheduled) -> None:
        flaky = Item(0, "flaky", k=1, ms=0.1)
        jobs = [await service.submit(*[0.1] * 40, flaky, max_attempts=2) for _ in range(2)]
        await service.end(*jobs)

    service = scheduled(story, work=limits(starts_per_second=rate))

    at = [item.at for item in service.engine.ran]
    assert len(at) == 84
    for begin in range(len(at)):
        for number, end in enumerate(at[begin:], start=1):
            # A chunk's items start one after the other: the last of a burst a little after they were allowed to.
            assert number <= rate * (end - at[begin] + 0.1 + 0.02) + 1
    assert at[-1] - at[0] == pytest.approx(84 / rate, rel=0.1, abs=0.6)


def test_who_waits_for_a_limit_holds_no_worker() -> None:
    """Another task's job has both workers to itself, to one token's item."""

    async def story(service: Scheduled) -> None:
        slow = await service.submit(*[1.0] * 10, task="work")
        other = await service.submit(*[10.0] * 200, task="wait")
        await service.end(slow, other)

    alone = scheduled(story)
    beside = scheduled(story, work=limits(starts_per_second=1.0))

    assert last_of("wait", beside) == pytest.approx(last_of("wait", alone), rel=0.02)


def last_of(task: str, service: Scheduled) -> float:
    return max(item.at for item in service.engine.ran if item.job.job.task == task)


def test_the_jobs_of_a_limited_task_take_turns() -> None:
    """The first to come does not take all that its task may start."""

    async def story(service: Scheduled) -> None:
        jobs = [await service.submit(*[1.0] * 20) for _ in range(2)]
        await service.end(*jobs)

    service = scheduled(story, work=limits(starts_per_second=5.0))

    ahead = 0
    for item in service.engine.ran[:-2]:
        ahead += 1 if item.job.job.id == "job-0" else -1
        assert abs(ahead) <= 2


def test_a_cancelled_job_leaves_its_turn_to_others() -> None:
    """Whether it waited for its task's limit, or had just been let go on."""

    async def story(service: Scheduled) -> None:
        first = await service.submit(1000.0)
        others = [await service.submit(10.0) for _ in range(5)]
        for live in others[:3]:
            await service.dispatcher.cancel(live)
        await service.end(first, *others)

    service = scheduled(story, work=limits(1))

    assert [item.job.job.id for item in service.engine.ran] == ["job-0", "job-4", "job-5"]


@pytest.mark.parametrize(("task", "most"), [("work", 1), ("work", 3), ("work", 40), ("wait", 1), ("wait", 2)])
def test_a_job_has_no_more_items_in_flight_than_it_says(task: str, most: int) -> None:
    """Whatever its chunks are, and however often items are tried again; stored results make room."""

    async def story(service: Scheduled) -> None:
        items = [Item(n, "flaky" if n % 7 == 0 else "ok", k=1, ms=0.5) for n in range(300)]
        await service.end(await service.submit(*items, task=task, max_in_flight=most, max_attempts=3))

    service = scheduled(story)

    assert len(service.engine.ran) == 300 + 43
    assert max(item.in_flight for item in service.engine.ran) == most
