"""Open jobs: items come after their job, until it is sealed."""

import gzip
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread

import httpx
import pytest

from app.service.intake import BLOCK_BYTES
from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import (
    JSONL,
    WAIT,
    Document,
    an_id,
    client,
    document_of,
    ended,
    lines_of,
    problem_names,
    problem_of,
    submitted,
)
from tests.waiting import eventually

TEXT = {"Content-Type": "text/plain"}


def opened(
    api: httpx.Client, task: str = "square", items: Sequence[object] = (), **options: object
) -> Document:
    return submitted(api, task, list(items), open=True, **options)


def sent(api: httpx.Client, job: Document, offset: int, body: object, status: int = 202) -> int:
    """How many items the job has, after these: JSON lines if they are bytes."""
    place = f"{job['links']['items']}?offset={offset}"
    given = {"content": body, "headers": JSONL} if isinstance(body, bytes) else {"json": body}
    answer = api.post(place, **given)
    assert answer.status_code == status, answer.text
    return int(document_of(answer)["total"]) if status == 202 else 0


def sealed(api: httpx.Client, job: Document) -> Document:
    answer = api.post(job["links"]["seal"])
    assert answer.status_code == 200, answer.text
    return document_of(answer)


def results(api: httpx.Client, job: Document) -> list[object]:
    page = api.get(f"{job['links']['results']}?order=index").raise_for_status()
    return [line.get("output") for line in lines_of(page.content)]


def stored(api: httpx.Client, job: Document) -> list[object]:
    return list(lines_of(api.get(job["links"]["inputs"]).content))


def all_done(api: httpx.Client, job: Document, number: int) -> Document:
    """The job, once so many items have results."""

    def look() -> Document | None:
        now = document_of(api.get(job["links"]["self"]))
        return now if now["counts"]["succeeded"] >= number else None

    return eventually(look, 20, f"{number} results")


def test_an_open_job_runs_what_it_has_and_ends_after_the_seal(api: httpx.Client) -> None:
    """Items in any form, as they come; with all of them done it waits."""
    job = opened(api, items=[1, 2])
    idle = all_done(api, job, 2)

    totals = [
        sent(api, job, 2, [3, 4]),
        sent(api, job, 4, b"5\n6"),
        sent(api, job, 6, []),
    ]
    packed = api.post(
        f"{job['links']['items']}?offset=6",
        content=gzip.compress(b"7\n"),
        headers={"Content-Encoding": "gzip"},
    )
    again = all_done(api, job, 7)
    shut = sealed(api, job)
    ended(api, job["id"])

    assert (job["sealed"], idle["sealed"], again["sealed"], shut["sealed"]) == (False, False, False, True)
    assert (idle["status"], again["status"]) == ("running", "running")
    assert totals == [4, 6, 6]
    assert document_of(packed) == {"total": 7}
    assert results(api, job) == [1, 4, 9, 16, 25, 36, 49]


def test_an_open_job_may_begin_without_items(api: httpx.Client) -> None:
    """They come later; any other job has to say that it has none."""
    job = document_of(api.post("/v1/jobs", json={"task": "square", "open": True}))
    problem = problem_of(api.post("/v1/jobs", json={"task": "square", "open": False}), 422)

    assert (job["counts"]["total"], job["status"]) == (0, "queued")
    assert problem["errors"][0]["pointer"] == "/items"


@pytest.mark.parametrize("query", ["open=1", "open=true"])
def test_a_job_of_lines_can_be_open(api: httpx.Client, query: str) -> None:
    """By its query; also with no line yet."""
    job = document_of(api.put(f"/v1/jobs/{an_id()}?task=square&{query}", content=b"", headers=JSONL))

    assert (job["status"], job["sealed"], job["progress"]) == ("queued", False, 0.0)
    assert sent(api, job, 0, b"3\n") == 1
    assert sealed(api, job)["sealed"]
    assert ended(api, job["id"])["counts"]["succeeded"] == 1


def test_an_open_job_may_end_without_any_item(api: httpx.Client) -> None:
    """The seal alone completes it, and does so once."""
    answer = api.post("/v1/jobs", json={"task": "square", "items": [], "open": True})
    job = document_of(answer)

    first, second = sealed(api, job), sealed(api, job)

    assert (answer.status_code, job["status"], job["counts"]["total"]) == (202, "queued", 0)
    assert (first["status"], second["status"]) == ("completed", "completed")


def test_what_is_there_already_may_be_sent_again(api: httpx.Client) -> None:
    """Whole or overlapping, before the seal and after, in lines or as an array; nothing is added twice."""
    job = opened(api)
    sent(api, job, 0, [1, 2, 3])

    assert sent(api, job, 0, [1, 2, 3]) == 3
    assert sent(api, job, 1, b"2\n3\n4\n") == 4
    sealed(api, job)
    assert sent(api, job, 3, [4]) == 4
    ended(api, job["id"])
    assert sent(api, job, 0, [1, 2]) == 4
    assert stored(api, job) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("offset", "items", "says"),
    [
        (4, [5], "offset=3"),
        (0, [1, 9], "other items"),
        (2, [4], "other items"),
        (1, [2, 9, 4], "other items"),
    ],
)
def test_a_gap_and_other_items_are_conflicts(
    api: httpx.Client, offset: int, items: list[object], says: str
) -> None:
    """And change nothing."""
    job = opened(api, items=[1, 2, 3])

    answer = api.post(f"{job['links']['items']}?offset={offset}", json=items)

    assert says in problem_of(answer, 409)["detail"]
    assert stored(api, job) == [1, 2, 3]
    sealed(api, job)


def test_a_sealed_job_takes_no_more_items(api: httpx.Client) -> None:
    """Whether it was sealed later or from the beginning, is being ended, or has finished."""
    job = opened(api, "sleep_for", [0.3])
    sealed(api, job)
    plain = submitted(api, "sleep_for", [0.3])
    hanging = opened(api, "hold_gil", [30])
    eventually(
        lambda: document_of(api.get(hanging["links"]["self"]))["counts"]["running"], 20, "a running item"
    )
    api.post(hanging["links"]["cancel"])

    for entry in (job, plain, hanging):
        place = f"{entry['links']['self']}/items?offset=1"
        problem_of(api.post(place, json=[1]), 409)
        ended(api, entry["id"])
        problem_of(api.post(place, json=[1]), 409)


def test_an_open_job_without_more_items_ends_with_its_time(api: httpx.Client) -> None:
    """Keeping its results; and it can be cancelled, which its items bear."""
    job = opened(api, items=[1, 2], job_timeout_seconds=0.5)
    other = opened(api, items=[1])
    all_done(api, other, 1)
    api.post(other["links"]["cancel"])

    assert ended(api, job["id"])["status"] == "expired"
    assert results(api, job) == [1, 4]
    assert not ended(api, job["id"])["sealed"]
    assert ended(api, other["id"])["status"] == "cancelled"
    assert sealed(api, job)["status"] == "expired"


def test_a_paused_open_job_takes_items_and_runs_none(api: httpx.Client) -> None:
    """Resumed, it runs them all; sealed meanwhile, it ends then."""
    job = opened(api, items=[1])
    all_done(api, job, 1)
    api.post(job["links"]["pause"])

    sent(api, job, 1, [2, 3])
    paused = sealed(api, job)
    api.post(job["links"]["resume"])

    assert (paused["status"], paused["counts"]["queued"]) == ("paused", 2)
    assert ended(api, job["id"])["counts"]["succeeded"] == 3


def test_failures_of_an_open_job_are_judged_over_all_it_has(api: httpx.Client) -> None:
    """A share after a hundred results, whenever these came."""
    job = opened(api, "risky", [5] * 4 + [1] * 95, max_failures="3%")
    eventually(
        lambda: document_of(api.get(job["links"]["self"]))["counts"]["succeeded"] == 95, 20, "99 results"
    )

    before = document_of(api.get(job["links"]["self"]))
    sent(api, job, 99, [1])
    after = ended(api, job["id"])

    assert (before["status"], before["counts"]["failed"]) == ("running", 4)
    assert (after["status"], after["error"]["type"]) == ("failed", "/problems/too-many-failures")


def test_readers_follow_an_open_job_over_all_its_parts(server: Server, api: httpx.Client) -> None:
    """A stream of results ends when the job does."""
    job = opened(api)
    got: list[bytes] = []

    def follow() -> None:
        with client(server) as reader:
            got.append(reader.get(f"{job['links']['results']}?follow=1&order=index").content)

    thread = Thread(target=follow)
    thread.start()
    for offset in range(0, 30, 3):
        sent(api, job, offset, list(range(offset, offset + 3)))
    sealed(api, job)
    thread.join(20)

    assert [line["output"] for line in lines_of(b"".join(line + b"\n" for line in got[0].split()))] == [
        n * n for n in range(30)
    ]


def test_of_appends_at_the_same_time_each_item_is_there_once(server: Server, api: httpx.Client) -> None:
    """The same items from eight callers, in one order or another."""
    job = opened(api)

    def append() -> None:
        with client(server) as caller:
            for offset in range(0, 40, 5):
                assert sent(caller, job, offset, list(range(offset, offset + 5))) >= offset + 5

    threads = [Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    sealed(api, job)

    assert ended(api, job["id"])["counts"]["succeeded"] == 40
    assert stored(api, job) == list(range(40))


def test_what_is_wrong_with_items_is_told(api: httpx.Client) -> None:
    """Nothing of it is added."""
    job = opened(api)
    place = job["links"]["items"]
    json = {"Content-Type": "application/json"}

    assert problem_names(problem_of(api.post(place, json=[1]), 422)) == {"offset"}
    problem_of(api.post(f"{place}?offset=-1", json=[1]), 422)
    problem_of(api.post(f"{place}?offset=0", json={"x": 1}), 422)
    problem_of(api.post(f"{place}?offset=0", content=b"[1", headers=json), 400)
    problem_of(api.post(f"{place}?offset=0", content=b"1\n", headers={"Content-Encoding": "gzip"}), 400)
    problem_of(api.post(f"{place}?offset=0", content=b"1\n", headers=TEXT), 415)
    problem_of(api.post(f"/v1/jobs/{an_id()}/items?offset=0", json=[1]), 404)
    problem_of(api.post(f"/v1/jobs/{an_id()}/seal"), 404)
    assert sealed(api, job)["counts"]["total"] == 0


# -- The window, and restarts


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service in which ten items of an open job may wait."""
    with (
        serving(tmp_path_factory.mktemp("small"), max_open_items="10", max_body_bytes="1024") as server,
        client(server) as api,
    ):
        yield api


@pytest.mark.parametrize("headers", [JSONL, {"Content-Type": "application/json"}])
def test_many_items_at_once_become_blocks_of_usual_size(tmp_path: Path, headers: dict[str, str]) -> None:
    """However they are sent: else each look at one of them would read all."""
    items = list(range(200_000))
    form = "\n".join(map(str, items)) if headers is JSONL else str(items)
    with serving(tmp_path) as server, client(server) as api:
        job = submitted(api, "square", [], open=True)
        answer = api.post(f"{job['links']['self']}/items?offset=0", content=form, headers=headers)
        assert document_of(answer)["total"] == len(items)
        api.post(f"{job['links']['self']}/seal").raise_for_status()
        assert ended(api, job["id"])["counts"]["succeeded"] == len(items)

    with sqlite3.connect(tmp_path / "millpond.sqlite") as database:
        (largest,) = database.execute("SELECT max(length(lines)) FROM blocks").fetchone()
    assert largest <= 2 * BLOCK_BYTES


def test_a_full_window_says_when_to_come_back(small: httpx.Client) -> None:
    """What waits is not more than may; once some are done there is room again."""
    job = opened(small, "sleep_for")
    small.post(job["links"]["pause"])
    sent(small, job, 0, [0.01] * 8)

    full = small.post(f"{job['links']['items']}?offset=8", json=[0.01] * 3)
    assert "8 items of this job wait" in problem_of(full, 429)["detail"]
    assert 1 <= int(full.headers["retry-after"]) <= 60
    assert sent(small, job, 8, [0.01] * 2) == 10
    problem_of(small.post(f"{job['links']['items']}?offset=10", json=[1]), 429)
    small.post(job["links"]["resume"])
    all_done(small, job, 10)
    assert sent(small, job, 10, [0.01] * 10) == 20
    sealed(small, job)
    assert ended(small, job["id"])["counts"]["succeeded"] == 20


def test_more_than_ever_may_wait_is_too_large(small: httpx.Client) -> None:
    """In number or in bytes: coming back would not help."""
    job = opened(small)

    sent(small, job, 0, [1] * 11, 413)
    sent(small, job, 0, ["x" * 1100], 413)
    assert sealed(small, job)["counts"]["total"] == 0


def test_items_survive_the_service_and_more_can_come(tmp_path: Path) -> None:
    """Killed again and again between appends, whose answers may have been lost."""
    with serving(tmp_path) as server:
        with client(server) as api:
            job = opened(api, "sleep_for")
        for round_ in range(3):
            with client(server) as api:
                sent(api, job, round_ * 400, [0.001] * 400)
                sent(api, job, round_ * 400 + 200, [0.001] * 200)
                server.kill()
            server.start()
        with client(server) as api:
            kept = document_of(api.get(job["links"]["self"]))
            sealed(api, job)
            server.kill()
        server.start()
        with client(server) as api:
            done = ended(api, job["id"])

            assert (kept["sealed"], kept["counts"]["total"]) == (False, 1200)
            assert (done["status"], done["sealed"]) == ("completed", True)
            assert done["counts"]["succeeded"] == 1200


def test_an_append_that_the_service_dies_in_is_whole_or_not_there(tmp_path: Path) -> None:
    """Sent again after the restart, the job has each item once."""
    body = (b"%d" % 7 + b" " * 500 + b"\n") * 20_000
    with serving(tmp_path) as server:
        with client(server) as api:
            job = opened(api, items=[7])
            api.post(job["links"]["pause"])
            place = f"{job['links']['items']}?offset=1"
            failed: list[Exception] = []

            def append() -> None:
                with client(server) as caller:
                    try:
                        caller.post(place, content=body, headers=JSONL)
                    except httpx.HTTPError as error:
                        failed.append(error)

            thread = Thread(target=append)
            thread.start()
            files = tmp_path / "payloads"
            eventually(lambda: sum(file.stat().st_size for file in files.glob("*")) > 1 << 20, 20, "a write")
            server.kill()
            thread.join(20)
        server.start()
        with client(server) as api:
            total = document_of(api.get(job["links"]["self"]))["counts"]["total"]
            assert total in (1, 20_001)
            assert document_of(api.post(place, content=body, headers=JSONL)) == {"total": 20_001}
            api.post(job["links"]["resume"])
            sealed(api, job)

            assert document_of(api.get(job["links"]["self"], headers=WAIT))["counts"]["succeeded"] == 20_001
