"""What a job asks for, and what befell it before, decides when its items run; never whether."""

from pathlib import Path

import httpx
import pytest

from tests.conftest import serving
from tests.integration.answers import document_of, ended, lines_of, submitted


def test_a_job_with_few_items_in_flight_runs_to_its_end(api: httpx.Client) -> None:
    """`max_in_flight` holds items up, but never for good."""
    job = ended(api, submitted(api, "square", list(range(200)), max_in_flight=4)["id"])

    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 200)


def test_a_job_under_the_id_of_a_deleted_one_has_its_own_items(api: httpx.Client) -> None:
    """Nothing that was read ahead for the old job is left."""
    for worker in range(2):
        submitted(api, "sleep_for", [0.5], label=f"busy {worker}")
    old = {"task": "echo", "items": ["old"] * 3}
    document_of(api.put("/v1/jobs/same-name", json=old).raise_for_status())
    api.post("/v1/jobs/same-name/cancel")
    ended(api, "same-name")
    api.delete("/v1/jobs/same-name").raise_for_status()

    api.put("/v1/jobs/same-name?task=echo", content='"new"\n' * 3).raise_for_status()
    ended(api, "same-name")

    lines = lines_of(api.get("/v1/jobs/same-name/results.jsonl").content)
    assert [line["output"] for line in lines] == ["new"] * 3


LIMITED = """
import os, time
from workers import task

@task(max_concurrency=1, rate_limit="5000/s")
def one_at_a_time(x: int, directory: str) -> int:
    os.mkdir(f"{directory}/busy")  # FileExistsError if another runs
    time.sleep(0.002)
    os.rmdir(f"{directory}/busy")
    return x
"""


def test_items_of_a_limited_task_run_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of two jobs together, with two workers that wait for them; `GET /v1/tasks` says so."""
    (tmp_path / "limited.py").write_text(LIMITED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with serving(tmp_path / "data", tasks="limited") as server, server.client() as api:
        items = [{"x": x, "directory": str(tmp_path)} for x in range(100)]
        jobs = [submitted(api, "one_at_a_time", items)["id"] for _ in range(2)]
        counts = [ended(api, job)["counts"]["succeeded"] for job in jobs]
        limits = document_of(api.get("/v1/tasks/one_at_a_time"))["limits"]

    assert counts == [100, 100]
    assert limits == {"max_concurrency": 1, "rate_limit": "5000/s", "starts_per_second": 5000.0}


WAITING = """
import os, time
from workers import task

@task
def make_or_wait(path: str, make: bool) -> None:
    if make:
        open(path, "w").close()
    until = time.monotonic() + 30
    while not os.path.exists(path):
        assert time.monotonic() < until, "nobody made it"
        time.sleep(0.005)
"""


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the task is, with a file that nobody has to wait for."""
    (tmp_path / "waiting.py").write_text(WAITING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "there").touch()
    return tmp_path


@pytest.mark.parametrize("quick", [0, 200])
def test_what_waits_behind_a_long_item_runs_elsewhere(waiting: Path, quick: int) -> None:
    """An item waits for what only the last of its own chunk brings about: an idle worker takes the rest over."""
    items = [{"path": str(waiting / "there"), "make": False}] * quick
    items += [{"path": str(waiting / "wanted"), "make": make} for make in (False, True)]

    with serving(waiting / "data", tasks="waiting") as server, server.client() as api:
        job = ended(api, submitted(api, "make_or_wait", items, chunksize=1000)["id"])

    assert job["counts"]["succeeded"] == quick + 2


def test_a_job_of_what_is_usually_tiny_is_shared_out_where_it_is_not(waiting: Path) -> None:
    """It begins with a chunk of many items, as others of its task were quick; here the first waits for the last."""
    quick = [{"path": str(waiting / "there"), "make": False}] * 200
    first, last = ({"path": str(waiting / "wanted"), "make": make} for make in (False, True))

    with serving(waiting / "data", tasks="waiting") as server, server.client() as api:
        counts = [
            ended(api, submitted(api, "make_or_wait", its)["id"])["counts"]
            for its in (quick, [first, *quick[:20], last])
        ]

    assert [its["succeeded"] for its in counts] == [200, 22]


def test_a_job_does_not_wait_behind_another_ones_long_item(waiting: Path) -> None:
    """One worker's items have all been quick, so more is sent behind the one that is not; it is taken back."""
    quick = [{"path": str(waiting / "there"), "make": False}] * 500
    wanted = str(waiting / "wanted")

    with serving(waiting / "data", tasks="waiting") as server, server.client() as api:
        waits = submitted(api, "make_or_wait", [*quick, {"path": wanted, "make": False}])["id"]
        others = [submitted(api, "make_or_wait", quick[:1])["id"] for _ in range(30)]
        makes = submitted(api, "make_or_wait", [{"path": wanted, "make": True}])["id"]
        counts = [ended(api, job)["counts"]["failed"] for job in (makes, waits, *others)]

    assert set(counts) == {0}
