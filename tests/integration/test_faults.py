"""Nothing a task does can hurt anything but its own item."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import Document, client, document_of, ended, lines_of, submitted
from tests.waiting import eventually

PROCESSES = 3
GOOD_ITEMS = 1_000
WHOLE_SECONDS_MAX = 1.0
"""How long after the end of a job the pool may lack a worker."""
ANSWER_SECONDS_MAX = 1.0
TIMEOUT_SECONDS = 0.3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of these tests' own: they count its workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("attempts")))  # where `flaky` counts
        with serving(tmp_path_factory.mktemp("data"), processes=str(PROCESSES)) as running:
            yield running


@pytest.fixture
def api(service: Server) -> Iterator[httpx.Client]:
    with client(service) as api:
        yield api


class Visitor(threading.Thread):
    """Asks all along whether the service is there."""

    def __init__(self, service: Server) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._leaving = threading.Event()
        self.waited: list[float] = []
        self.statuses: set[int] = set()

    def __enter__(self) -> "Visitor":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self.join()

    def run(self) -> None:
        with self._service.client() as api:
            while not self._leaving.wait(0.01):
                started = time.monotonic()
                for path in ("/livez", "/readyz", "/v1/pool"):
                    self.statuses.add(api.get(path).status_code)
                self.waited.append(time.monotonic() - started)


@dataclass(frozen=True)
class Fault:
    """A job with items that go wrong."""

    task: str
    items: list[Any]
    bad: dict[int, Document]
    """What is known of the errors, by index."""
    outputs: dict[int, Any] = field(default_factory=dict)
    options: Document = field(default_factory=dict)


SEGFAULT = {"kind": "crashed", "signal": "SIGSEGV"}
HOSTILE = {"kind": "exception", "type": "Hostile"}
NO_OUTPUT = {"kind": "invalid_output"}
NO_INPUT = {"kind": "invalid_input"}

FAULTS = {
    "exits": Fault(
        "exit_process",
        [{"code": 7}, {"code": 0}],
        {0: {"kind": "crashed", "exit_code": 7}, 1: {"kind": "crashed", "exit_code": 0}},
    ),
    "segfaults": Fault("segfault", [None, {}], {0: SEGFAULT, 1: SEGFAULT}),
    "hostile": Fault("hostile_error", [{}] * 3, {0: HOSTILE, 1: HOSTILE, 2: HOSTILE}),
    "unserializable": Fault("unserializable", [{}, {}], {0: NO_OUTPUT, 1: NO_OUTPUT}),
    "raises": Fault(
        "risky",
        list(range(10)),
        {5: {"kind": "exception", "type": "ValueError"}},
        {x: x for x in range(10) if x != 5},
    ),
    "invalid": Fault(
        "risky",
        [1, "one", {"y": 1}, [1, 2], 2],
        {1: NO_INPUT, 2: NO_INPUT, 3: NO_INPUT},
        {0: 1, 4: 2},
    ),
    "one of a thousand crashes": Fault(
        "crash_if",
        list(range(1_000)),
        {617: {"kind": "crashed", "signal": "SIGKILL"}},
        {x: x for x in range(1_000) if x != 617},
        {"params": {"bad": 617}},
    ),
    "one of a thousand crashes, in one chunk": Fault(
        "crash_if",
        list(range(1_000)),
        {617: {"kind": "crashed", "signal": "SIGKILL"}},
        {x: x for x in range(1_000) if x != 617},
        {"params": {"bad": 617}, "chunksize": 1_000},
    ),
    "sleeps too long": Fault(
        "sleep_for",
        [0.01, 60, 0.02, 0.03],
        {1: {"kind": "timeout"}},
        {0: 0.01, 2: 0.02, 3: 0.03},
        {"item_timeout_seconds": TIMEOUT_SECONDS, "chunksize": 4},
    ),
    "holds the interpreter's lock too long": Fault(
        "hold_gil",
        [0.01, 60, 0.02],
        {1: {"kind": "timeout"}},
        {0: 0.01, 2: 0.02},
        {"item_timeout_seconds": TIMEOUT_SECONDS},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_only_the_bad_items_fail(service: Server, api: httpx.Client, name: str) -> None:
    """Each in its way; a job beside it loses nothing, the pool is soon whole, and the service answers all along."""
    fault = FAULTS[name]
    with Visitor(service) as visitor:
        good = submitted(api, "slow_square", list(range(GOOD_ITEMS)), params={"seconds": 0.001})["id"]
        bad = submitted(api, fault.task, fault.items, **{"max_attempts": 1} | fault.options)["id"]
        bad_job, good_job = ended(api, bad), ended(api, good)
        eventually(lambda: whole(api), WHOLE_SECONDS_MAX, "a full pool")

    results = results_of(api, bad_job)
    errors = {line["index"]: line["error"] for line in results if "error" in line}
    assert [line["index"] for line in results] == list(range(len(fault.items)))
    assert {line["index"]: line["output"] for line in results if "output" in line} == fault.outputs
    assert errors.keys() == fault.bad.keys()
    for index, known in fault.bad.items():
        assert errors[index] | known == errors[index]
        assert errors[index]["message"]
    assert not any("attempts" in line for line in results)
    assert bad_job["counts"]["failed"] == len(fault.bad)
    assert_untouched(api, good_job)
    assert visitor.statuses == {200}
    assert max(visitor.waited) < ANSWER_SECONDS_MAX


def results_of(api: httpx.Client, job: Document) -> list[Document]:
    assert job["status"] == "completed", job
    return lines_of(api.get(f"{job['links']['results']}?order=index").content)


def assert_untouched(api: httpx.Client, job: Document, failed: int = 0) -> None:
    """Every item of the good job has its right result, but for so many failures."""
    results = results_of(api, job)
    assert [line["index"] for line in results] == list(range(GOOD_ITEMS))
    right = [line for line in results if line.get("output") == line["index"] ** 2]
    assert len(right) == GOOD_ITEMS - failed


def pids(api: httpx.Client) -> list[int]:
    """The workers that are there and started."""
    workers = document_of(api.get("/v1/pool"))["pools"]["cpu"]["workers"]
    return [worker["pid"] for worker in workers if worker["state"] in ("idle", "busy")]


def whole(api: httpx.Client, but: Iterable[int] = ()) -> bool:
    """Whether as many workers live as should, and none of those."""
    now = pids(api)
    return len(now) == PROCESSES and not set(now) & set(but)


def restarts(api: httpx.Client) -> int:
    return int(document_of(api.get("/v1/pool"))["pools"]["cpu"]["restarts"])


def test_a_timeout_is_told_in_time(api: httpx.Client) -> None:
    """Not before the limit, and not long after it."""
    started = time.monotonic()
    job = ended(
        api, submitted(api, "sleep_for", [60], item_timeout_seconds=TIMEOUT_SECONDS, max_attempts=1)["id"]
    )
    took = time.monotonic() - started

    (result,) = results_of(api, job)
    assert result["error"]["kind"] == "timeout"
    assert "0.3 s" in result["error"]["message"]
    assert TIMEOUT_SECONDS <= took < TIMEOUT_SECONDS + 1


def test_an_idle_worker_that_is_killed_is_replaced(service: Server, api: httpx.Client) -> None:
    """And nothing else happens."""
    eventually(lambda: whole(api), WHOLE_SECONDS_MAX, "a full pool")
    before = pids(api)

    os.kill(before[0], signal.SIGKILL)

    eventually(lambda: before[0] not in pids(api) and whole(api), WHOLE_SECONDS_MAX, "a full pool")
    assert set(before[1:]) < set(pids(api))
    job = ended(api, submitted(api, "slow_square", list(range(GOOD_ITEMS)), params={"seconds": 0.0001})["id"])
    assert_untouched(api, job)


def test_busy_workers_that_are_killed_cost_one_item_each(service: Server, api: httpx.Client) -> None:
    """The one that each was running; with an attempt to spare not even that, unless it meets the next kill as well."""
    for attempts in (1, 2):
        before = restarts(api)
        job_id = submitted(
            api,
            "slow_square",
            list(range(GOOD_ITEMS)),
            params={"seconds": 0.002},
            max_attempts=attempts,
        )["id"]
        kills = 5
        with Visitor(service) as visitor:
            for number in range(1, kills + 1):
                os.kill(a_busy_worker(api, job_id), signal.SIGKILL)
                eventually(lambda: restarts(api) >= before + number, 2, "a new worker")  # noqa: B023
            job = ended(api, job_id)
            eventually(lambda: whole(api), WHOLE_SECONDS_MAX, "a full pool")

        results = results_of(api, job)
        failed = [line for line in results if "error" in line]
        assert all(line.get("attempts", 1) == attempts for line in failed)
        charged = sum(line.get("attempts", 1) - ("error" not in line) for line in results)
        assert charged <= kills
        assert all(
            (line["error"]["kind"], line["error"]["signal"]) == ("crashed", "SIGKILL") for line in failed
        )
        assert_untouched(api, job, len(failed))
        assert visitor.statuses == {200}
        assert max(visitor.waited) < ANSWER_SECONDS_MAX


def a_busy_worker(api: httpx.Client, job_id: str) -> int:
    """The process of a worker that runs an item now."""

    def busy() -> int | None:
        assert document_of(api.get(f"/v1/jobs/{job_id}"))["status"] in ("queued", "running")
        workers = document_of(api.get("/v1/pool"))["pools"]["cpu"]["workers"]
        found = [w["pid"] for w in workers if w["state"] == "busy" and w["item"] is not None]
        return found[0] if found else None

    return eventually(busy, 5, "a busy worker")


def test_an_item_may_fail_as_often_as_it_has_attempts_to_spare(api: httpx.Client) -> None:
    """The line says how many it took; one that fails every time fails."""
    items = [{"token": f"t{times}", "fail_times": times} for times in (0, 1, 2, 3, 9)]

    job = ended(api, submitted(api, "flaky", items, max_attempts=3)["id"])

    results = results_of(api, job)
    assert [line.get("output") for line in results] == [1, 2, 3, None, None]
    assert [line.get("attempts") for line in results] == [None, 2, 3, 3, 3]
    assert "attempt 3 fails" in results[3]["error"]["message"]


def test_an_item_that_kills_its_worker_gets_a_second_chance_and_no_third(api: httpx.Client) -> None:
    """However many attempts it has; the others of its chunk are not charged for it."""
    before = restarts(api)

    job = ended(
        api,
        submitted(api, "crash_if", list(range(50)), params={"bad": 20}, max_attempts=5, chunksize=50)["id"],
    )

    results = results_of(api, job)
    (bad,) = (line for line in results if "error" in line)
    assert (bad["index"], bad["attempts"], bad["error"]["signal"]) == (20, 2, "SIGKILL")
    assert [line["output"] for line in results if "output" in line] == [x for x in range(50) if x != 20]
    assert not any("attempts" in line for line in results if "output" in line)
    assert restarts(api) == before + 2


def test_an_item_that_times_out_gets_its_attempts(api: httpx.Client) -> None:
    """A kill for time is a death like any other."""
    job = ended(
        api,
        submitted(api, "sleep_for", [60, 0.0], max_attempts=2, item_timeout_seconds=TIMEOUT_SECONDS)["id"],
    )

    timed_out, fine = results_of(api, job)
    assert (timed_out["error"]["kind"], timed_out["attempts"]) == ("timeout", 2)
    assert fine["output"] == 0.0


def test_everything_goes_on_when_the_process_that_forks_the_workers_is_killed(
    service: Server, api: httpx.Client
) -> None:
    """Its workers die with it and no item is charged; soon there are as many as before."""
    good = submitted(api, "slow_square", list(range(GOOD_ITEMS)), params={"seconds": 0.002}, max_attempts=1)
    a_busy_worker(api, good["id"])
    with Visitor(service) as visitor:
        for _ in range(2):
            before = pids(api)
            # Not a child of the service: a worker that lost its own parent may still be one, and end at any moment.
            zygote = psutil.Process(before[0]).parent()
            assert zygote is not None
            zygote.kill()
            eventually(lambda: whole(api, but=before), 10, "a full new pool")  # noqa: B023
        job = ended(api, good["id"])

    assert_untouched(api, job)
    assert visitor.statuses == {200}
    assert max(visitor.waited) < ANSWER_SECONDS_MAX
    eventually(
        lambda: len(psutil.Process(service.pid).children(recursive=True)) == PROCESSES + 1, 10, "all of them"
    )


def test_no_descriptor_is_left_of_dead_workers(service: Server, api: httpx.Client) -> None:
    """Fifty deaths later the service has as many files open as before."""
    process = psutil.Process(service.pid)
    eventually(lambda: whole(api), WHOLE_SECONDS_MAX, "a full pool")
    before = process.num_fds()

    job = ended(api, submitted(api, "exit_process", [{"code": 1}] * 50, max_attempts=1)["id"])

    assert job["counts"]["failed"] == 50
    eventually(lambda: whole(api) and process.num_fds() <= before + 2, 2, "as few descriptors as before")
