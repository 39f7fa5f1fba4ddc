"""The named pools, and how many workers each gets."""

from pathlib import Path

import pytest

from tests.conftest import serving

FETCH = """
import os
from workers import task

@task(pool="io")
def fetch(x: int) -> int:
    return os.getpid()
"""


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, {"cpu": 2, "io": 8}),
        ({"io_processes": "3"}, {"cpu": 2, "io": 3}),
        ({"io_processes": "0"}, {"cpu": 2, "io": 0}),
    ],
)
def test_a_task_runs_in_the_pool_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sizes: dict[str, int]
) -> None:
    """Four workers for each CPU, or as many as are set; with none, its items run in `cpu`."""
    (tmp_path / "fetching.py").write_text(FETCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with serving(tmp_path / "data", tasks="fetching", **settings) as server, server.client() as api:
        job = {"task": "fetch", "items": [1]}
        (result,) = api.post("/v1/jobs", json=job, headers={"Prefer": "wait=10"}).json()["results"]
        pools = api.get("/v1/pool").json()["pools"]

    assert {name: pool["processes"] for name, pool in pools.items()} == sizes
    pool = pools["io" if sizes["io"] else "cpu"]
    assert result["output"] in [worker["pid"] for worker in pool["workers"]]


def test_without_such_a_task_there_is_no_io_worker(tmp_path: Path) -> None:
    """Idle processes would only take memory."""
    with serving(tmp_path) as server, server.client() as api:
        pools = api.get("/v1/pool").json()["pools"]

    assert (pools["io"]["processes"], pools["io"]["workers"]) == (0, [])
