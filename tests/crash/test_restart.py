"""What was promised is kept across SIGKILL of the service."""

import json
import socket
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import serving
from tests.crash.readers import Reader, Reading, events, follow
from tests.integration.answers import (
    JSONL,
    Document,
    an_id,
    client,
    document_of,
    ended,
    lines_of,
    submitted,
)
from tests.waiting import alive, eventually

GONE_SECONDS_MAX = 2.0
"""How long a worker may outlive the service."""
ITEMS = 3_000
KILLED_AT = (300, 900, 1_800)
"""How many results there are when the service is killed."""

READINGS: dict[str, Reading] = {
    "completion": follow(""),
    "index": follow("&order=index"),
    "failed": follow("&status=failed"),
    "events": events("include=results"),
    "events by index": events("include=results&order=index"),
    "events of failures": events("include=failures"),
}


def item(index: int) -> Document:
    """Two milliseconds or so; each says another length, so that an output tells whose it is."""
    return {"seconds": 0.002 + index * 1e-9} if index % 50 else {"seconds": f"no number {index}"}


@dataclass(frozen=True)
class Story:
    """A job during which the service was killed several times."""

    job: Document
    lines: list[bytes]
    """The whole log, once the job had ended."""
    before: list[bytes]
    """The log's bytes as they were read just before each kill."""
    readers: dict[str, Reader]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Readers of every kind follow the job all along; the service is started again after each kill.

    The job is open until then, so that none of them is through before.
    """
    with serving(tmp_path_factory.mktemp("data")) as server:
        with client(server) as api:
            job_id = submitted(api, "sleep_for", [item(index) for index in range(ITEMS)], open=True)["id"]
        readers = {name: Reader(server, job_id, reading) for name, reading in READINGS.items()}
        before = []
        for deaths, done in enumerate(KILLED_AT):
            with client(server) as api:
                wait_for_results(api, job_id, done)
                wait_for_readers(readers.values(), deaths + 1)
                before.append(api.get(f"/v1/jobs/{job_id}/results.jsonl").content)
                server.kill()
            server.start()
        with client(server) as api:
            api.post(f"/v1/jobs/{job_id}/seal").raise_for_status()
            job = ended(api, job_id)
            lines = api.get(f"/v1/jobs/{job_id}/results.jsonl").content.splitlines(keepends=True)
        for reader in readers.values():
            reader.join(20)
        yield Story(job, lines, before, readers)


def wait_for_results(api: httpx.Client, job_id: str, number: int) -> None:
    def enough() -> bool:
        counts = document_of(api.get(f"/v1/jobs/{job_id}"))["counts"]
        return bool(counts["succeeded"] + counts["failed"] >= number)

    eventually(enough, 30, f"{number} results")


def wait_for_readers(readers: Iterable[Reader], number: int) -> None:
    """Until each has begun so many connections, so that the next death is one's end."""
    eventually(lambda: all(reader.begun >= number for reader in readers), 30, "readers")


def test_every_item_has_exactly_one_result(story: Story) -> None:
    """The right one: each output is that of its item."""
    results = lines_of(b"".join(story.lines))

    assert sorted(result["index"] for result in results) == list(range(ITEMS))
    for result in results:
        if result["index"] % 50:
            assert result["output"] == item(result["index"])["seconds"]
        else:
            assert result["error"]["kind"] == "invalid_input"


def test_counts_are_right_after_several_kills(story: Story) -> None:
    """They say what the log holds, and no item was charged for a kill."""
    assert story.job["status"] == "completed"
    assert story.job["counts"] == {
        "total": ITEMS, "queued": 0, "running": 0,
        "succeeded": ITEMS * 49 // 50, "failed": ITEMS // 50, "cancelled": 0,
    }  # fmt: skip
    assert not any("attempts" in result for result in lines_of(b"".join(story.lines)))


def test_the_first_lines_stay_the_same_bytes(story: Story) -> None:
    """What was read before a kill is the beginning of what is read at the end."""
    log = b"".join(story.lines)

    assert [log.startswith(before) for before in story.before] == [True] * len(KILLED_AT)
    assert [before.count(b"\n") >= done for before, done in zip(story.before, KILLED_AT, strict=True)]


@pytest.mark.parametrize("name", READINGS)
def test_a_reader_that_comes_back_misses_and_repeats_nothing(story: Story, name: str) -> None:
    """By counting the lines it has, or by the last event's id: it ends with the view, byte for byte."""
    lines = [line.rstrip(b"\n") for line in story.lines]
    if "index" in name:
        lines.sort(key=lambda line: int(json.loads(line)["index"]))
    if "fail" in name:
        lines = [line for line in lines if b'"error"' in line]

    assert story.readers[name].result(0) == lines
    assert story.readers[name].breaks >= len(KILLED_AT)


def test_a_job_that_was_accepted_but_not_begun_survives(tmp_path: Path) -> None:
    """202 is a promise; it runs after the next start, however it came in."""
    with serving(tmp_path, processes="1") as server:
        with client(server) as api:
            first = submitted(api, "sleep_for", [1.0])["id"]
            as_json = submitted(api, "square", [1, 2, 3], metadata={"run": "nightly"})
            as_lines = document_of(
                api.put(f"/v1/jobs/{an_id()}?task=square", content=b"4\n5\n", headers=JSONL)
            )
            assert as_lines["status"] == as_json["status"] == "queued"
            server.kill()
        server.start()

        with client(server) as api:
            done = [ended(api, job_id) for job_id in (as_json["id"], as_lines["id"], first)]
            outputs = [
                [
                    line["output"]
                    for line in lines_of(api.get(f"{job['links']['results']}?order=index").content)
                ]
                for job in done
            ]
    assert outputs == [[1, 4, 9], [16, 25], [1.0]]
    assert done[0]["metadata"] == {"run": "nightly"}
    assert done[0]["created_at"] == as_json["created_at"]


def test_a_finished_job_is_as_it_was(tmp_path: Path) -> None:
    """Not a byte of it changes."""
    with serving(tmp_path) as server:
        with client(server) as api:
            job = ended(api, submitted(api, "risky", [4, 5, 6], label="three")["id"])
            answers = [api.get(url).content for url in (job["links"]["self"], job["links"]["results"])]
            server.kill()
        server.start()

        with client(server) as api:
            again = [api.get(url).content for url in (job["links"]["self"], job["links"]["results"])]
    # How fast it was is not stored.
    assert json.loads(again[0]) | {"items_per_second": None} == json.loads(answers[0]) | {
        "items_per_second": None
    }
    assert again[1] == answers[1]


def test_a_cancelling_job_ends_cancelled(tmp_path: Path) -> None:
    """Nothing of it runs again, and what it had stays."""
    with serving(tmp_path) as server:
        with client(server) as api:
            job_id = submitted(api, "sleep_for", [0.0, 60, 60, 60], chunksize=1)["id"]
            wait_for_results(api, job_id, 1)
            asked = api.post(f"/v1/jobs/{job_id}/cancel")
            assert (asked.status_code, asked.json()["status"]) == (202, "cancelling")
            server.kill()
        server.start()

        with client(server) as api:
            job = ended(api, job_id)
    assert job["status"] == "cancelled"
    assert (job["counts"]["succeeded"], job["counts"]["cancelled"]) == (1, 3)
    assert job["cancel_requested_at"] == asked.json()["cancel_requested_at"]


@pytest.mark.parametrize("how", ["client goes", "service goes"])
def test_a_broken_upload_leaves_nothing(tmp_path: Path, how: str) -> None:
    """Neither a job nor a byte of it; the same id is free."""
    with serving(tmp_path, prune_seconds="0.05") as server:
        url = httpx.URL(server.url)
        assert url.port is not None
        with socket.create_connection((url.host, url.port)) as connection:
            head = f"PUT /v1/jobs/nightly?task=square HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 9000000\r\n\r\n"
            connection.sendall(head.encode() + b"1234567\n" * 500_000)
            eventually(lambda: stored(tmp_path)["blocks"], 10, "a part of the upload in the store")
            if how == "service goes":
                server.kill()
        if how == "service goes":
            server.start()
        eventually(lambda: stored(tmp_path) == {"blocks": 0, "owners": 0, "jobs": 0}, 10, "an empty store")

        with client(server) as api:
            assert api.get("/v1/jobs/nightly").status_code == 404
            api.put("/v1/jobs/nightly?task=square", content=b"2\n", headers=JSONL).raise_for_status()
            assert ended(api, "nightly")["counts"]["succeeded"] == 1


def stored(data: Path) -> Document:
    """How many rows there are."""
    connection = sqlite3.connect(f"file:{data / 'millpond.sqlite'}?mode=ro", uri=True)
    try:
        tables = ("blocks", "owners", "jobs")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("task", "items"),
    [(None, []), ("sleep_for", [60.0]), ("hold_gil", [60.0]), ("burn", [60_000.0]), ("sleep_for", [0.0001])],
)
def test_no_process_outlives_a_killed_service(tmp_path: Path, task: str | None, items: list[float]) -> None:
    """Workers at rest or busy, asleep, holding the interpreter's lock, or sending results: all are gone soon."""
    with serving(tmp_path, processes="3") as server:
        if task is not None:
            with client(server) as api:
                submitted(api, task, items * (100_000 if items[0] < 1 else 3), chunksize="auto")
                eventually(lambda: busy(api) == 3, 10, "three busy workers")
        service = psutil.Process(server.pid)
        eventually(
            lambda: len(service.children(recursive=True)) == 4, 10, "three workers and who forked them"
        )
        children = service.children(recursive=True)

        server.kill()

        eventually(lambda: not alive(children), GONE_SECONDS_MAX, f"the end of {children}")


def test_no_worker_outlives_both_of_its_ancestors(tmp_path: Path) -> None:
    """The kernel ends it: nobody is left who could."""
    with serving(tmp_path) as server:
        with client(server) as api:
            submitted(api, "hold_gil", [60.0] * 2)
            eventually(lambda: busy(api) == 2, 10, "two busy workers")
        (zygote,) = eventually(psutil.Process(server.pid).children, 10, "the process that forks the workers")
        workers = zygote.children()

        zygote.suspend()  # so that it cannot see the service go
        server.kill()
        assert len(alive(workers)) == 2
        zygote.kill()

        eventually(lambda: not alive(workers), GONE_SECONDS_MAX, f"the end of {workers}")


def busy(api: httpx.Client) -> int:
    workers = document_of(api.get("/v1/pool"))["pools"]["cpu"]["workers"]
    return sum(worker["state"] == "busy" for worker in workers)


def test_a_service_starts_again_while_its_workers_die(tmp_path: Path) -> None:
    """Kills in a row, each as soon as it listens: nothing of the one before is in its way."""
    with serving(tmp_path) as server:
        with client(server) as api:
            job_id = submitted(api, "sleep_for", [0.001] * 200)["id"]
        for _ in range(2):
            server.kill()
            server.start()
        with client(server) as api:
            assert ended(api, job_id)["counts"]["succeeded"] == 200


def test_a_job_whose_task_is_gone_is_held_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that was started with other tasks by mistake loses nothing."""
    (tmp_path / "mine.py").write_text(
        "import time\nfrom workers import task\n\n@task\ndef mine(x: int) -> int:\n    time.sleep(0.05)\n    return x\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with serving(tmp_path / "data", tasks="mine") as server, client(server) as api:
        job = submitted(api, "mine", list(range(100)), chunksize=1)
        server.kill()
    with serving(tmp_path / "data") as server, client(server) as api:
        held = api.get(job["links"]["self"]).json()
    with serving(tmp_path / "data", tasks="mine") as server, client(server) as api:
        done = api.get(job["links"]["self"], headers={"Prefer": "wait=30"}).json()

    assert held["error"]["type"] == "/problems/unknown-task"
    assert held["ended_at"] is None
    assert (done["status"], done["error"], done["counts"]["succeeded"]) == ("completed", None, 100)
