"""Thousands of unfinished jobs hold the event loop for no more than 20 ms of CPU: neither a restart with them, nor
what is asked of one or all.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.item import Block, Segment
from app.domain.job import Counts, Job, Options, Status
from app.domain.store import Note
from app.stores.sqlite import SqliteStore
from tests.integration.answers import ended
from tests.integration.held import TRIES_MAX, Watched, watching

JOBS = 10_000
"""As many as may be unfinished by default."""
ROOM = {"max_jobs": str(2 * JOBS), "processes": "2"}
SLEEP = b'{"seconds":600}\n'
OPTIONS = Options()
LIMITED = """
from workers import task

@task(rate_limit="1/h")
def limited(seconds: float) -> None:
    pass
"""


def filled(directory: Path, *, task: str = "sleep_for", options: Options = OPTIONS) -> Path:
    """A data directory with that many jobs, submitted an hour ago, each of one item."""
    began = datetime.now(UTC) - timedelta(hours=1)

    async def fill(store: SqliteStore) -> None:
        await asyncio.gather(
            *(
                store.create_job(
                    Job(
                        id=f"job-{number:05}",
                        task=task,
                        status=Status.QUEUED,
                        counts=Counts(1),
                        options=options,
                        created_at=began + timedelta(milliseconds=number),
                        label=f"number {number}",
                        metadata={"of": "many"},
                    ),
                    [Block(0, 1, SLEEP)],
                )
                for number in range(JOBS)
            )
        )

    stored(directory, fill)
    return directory


def stored(directory: Path, fill: Callable[[SqliteStore], Coroutine[Any, Any, None]]) -> None:
    """What `fill` writes is what the service finds at its start."""
    store = SqliteStore(directory / "millpond.sqlite", "process")
    store.open()
    asyncio.run(fill(store))
    store.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That many jobs, each of an item that sleeps for longer than all of this takes."""
    return filled(tmp_path_factory.mktemp("many"))


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


def test_many_jobs_whose_time_is_over_hold_nobody_up(tmp_path: Path) -> None:
    """All at the same moment, of which one after a restart is the worst: none has run."""
    for number in range(TRIES_MAX):
        directory = tmp_path / str(number)
        directory.mkdir()
        with watching(filled(directory, options=Options(job_timeout_seconds=60.0)), **ROOM) as watched:
            awaited(watched, "/v1/jobs?limit=1&status=queued", lambda page: not page["jobs"])
            held = watched.held()
        if not held:
            break

    assert held == []


def test_many_jobs_that_their_task_holds_up_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks at one is told which limit it waits for."""
    (tmp_path / "limiting.py").write_text(LIMITED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    filled(tmp_path, task="limited")
    for _ in range(TRIES_MAX):
        with watching(tmp_path, tasks="limiting", **ROOM) as watched:
            last = f"/v1/jobs/job-{JOBS - 1:05}/explain"
            awaited(watched, last, lambda told: "limit" in str(told))
            held = watched.held()
        if not held:
            break

    assert held == []


def test_a_job_of_many_pieces_holds_nobody_up(tmp_path: Path) -> None:
    """Of which every other item is done, and many that are not have failed before: when it goes on after a restart, is
    read, cancelled, and run again.
    """
    items, job_id = 40_000, "pieces"
    began = datetime.now(UTC)
    error = {"kind": "exception", "type": "ValueError", "message": "not yet"}

    async def fill(store: SqliteStore) -> None:
        options = Options(max_attempts=5)
        job = Job(job_id, "sleep_for", Status.QUEUED, Counts(items), options, began)
        await store.create_job(job, [Block(0, items, SLEEP * items)])
        log = [
            Segment(job_id, index, 1, 0, number, 0, b'{"index":%d,"output":null}\n' % index)
            for number, index in enumerate(range(0, items, 2))
        ]
        notes = [Note(job_id, index, 1, began, error) for index in range(1, items, 4)]
        job = replace(
            job, status=Status.RUNNING, started_at=began, counts=Counts(items, succeeded=items // 2)
        )
        await store.append_results(log, [job], {}, notes)

    for number in range(TRIES_MAX):
        directory = tmp_path / str(number)
        directory.mkdir()
        stored(directory, fill)
        with watching(directory, **ROOM) as watched:
            api = watched.api
            awaited(watched, f"/v1/jobs/{job_id}", lambda job: job["counts"]["running"] or job["ended_at"])
            api.get(f"/v1/jobs/{job_id}/inputs.jsonl?select=unfinished").raise_for_status()
            api.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
            ended(api, job_id)
            again = (
                api.post(f"/v1/jobs/{job_id}/retry", json={"select": "cancelled"}).raise_for_status().json()
            )
            api.post(f"/v1/jobs/{again['id']}/cancel").raise_for_status()
            held = watched.held()
        if not held:
            break

    assert held == []


def awaited(watched: Watched, address: str, true: Callable[[Any], object]) -> None:
    """Ask until that is so of the answer."""
    deadline = time.monotonic() + 60
    while not true(watched.api.get(address).raise_for_status().json()):
        assert time.monotonic() < deadline
