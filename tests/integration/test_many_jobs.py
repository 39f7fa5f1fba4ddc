"""Thousands of unfinished jobs hold the event loop for no more than 20 ms of CPU: neither a restart with them, nor
what is asked of one or all.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.item import Block
from app.domain.job import Counts, Job, Options, Status
from app.stores.sqlite import SqliteStore
from tests.integration.test_event_loop import TRIES_MAX, Watched, watching

JOBS = 5_000
"""Half as many as may be unfinished by default, so that a busy machine is not taken for slow code."""
ROOM = {"max_jobs": str(2 * JOBS), "processes": "2"}
SLEEP = b'{"seconds":600}\n'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with that many jobs, each of an item that sleeps for longer than all of this takes."""
    directory = tmp_path_factory.mktemp("many")
    store = SqliteStore(directory / "millpond.sqlite", "process")
    began = datetime.now(UTC)

    async def fill() -> None:
        await asyncio.gather(
            *(
                store.create_job(
                    Job(
                        id=f"job-{number:05}",
                        task="sleep_for",
                        status=Status.QUEUED,
                        counts=Counts(1),
                        options=Options(),
                        created_at=began + timedelta(milliseconds=number),
                        label=f"number {number}",
                        metadata={"of": "many"},
                    ),
                    [Block(0, 1, SLEEP)],
                )
                for number in range(JOBS)
            )
        )

    store.open()
    asyncio.run(fill())
    store.close()
    return directory


@pytest.fixture(scope="module")
def watched(data: Path) -> Iterator[Watched]:
    with watching(data, **ROOM) as running:
        yield running


def test_a_restart_with_many_jobs_holds_nobody_up(data: Path) -> None:
    """Nor does the end of a service that has them."""
    for _ in range(TRIES_MAX):
        with watching(data, **ROOM) as watched:
            pass
        if not (held := watched.held()):
            break

    assert held == []


@pytest.mark.parametrize(
    "address",
    [
        "/v1/jobs?limit=1000",
        "/v1/jobs?limit=1000&status=queued&q=number",
        "/v1/jobs/job-02000",
        "/v1/jobs/job-02000/explain",
        "/v1/pool",
        "/metrics",
    ],
)
def test_who_looks_at_many_jobs_holds_nobody_up(watched: Watched, address: str) -> None:
    """However many are looked at together."""
    assert watched.held_by(lambda: watched.api.get(address).raise_for_status()) == []
