"""Further attempts: how many, after how long, and what is told of them."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import serving
from tests.crash.matrix import Watched, until
from tests.integration.watching import HABITS, watching


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("attempts")) as watched:
        yield watched


def test_attempts_are_told_with_their_errors(watched: Watched, tmp_path: Path) -> None:
    """Each in the item's detail, in order, with its time; the result says how many there were."""
    job = watched.submit("fails_noted", [{"path": str(tmp_path / "f"), "times": 2}], max_attempts=3)

    (line,) = watched.results(job)
    assert (line["output"], line["attempts"]) == (3, 3)
    attempts = watched.item(job)["attempts"]
    assert [attempt["attempt"] for attempt in attempts] == [1, 2]
    assert [attempt["error"]["message"] for attempt in attempts] == ["attempt 1", "attempt 2"]
    assert attempts[0]["at"] < attempts[1]["at"]


def test_another_attempt_waits_and_others_do_not(watched: Watched, tmp_path: Path) -> None:
    """At random, up to the task's backoff times a power of two."""
    path = tmp_path / "f"
    job = watched.submit("fails_noted", [{"path": str(path)}], max_attempts=4)
    other = watched.submit("square", [2])
    assert watched.results(other)[0]["output"] == 4
    (line,) = watched.results(job)

    assert line["attempts"] == 4
    times = [float(text) for text in path.read_text().split()]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert sum(waits) > 0.02
    for n, wait in enumerate(waits):
        assert wait < 0.4 * 2**n + 0.5


def test_some_errors_are_final(watched: Watched) -> None:
    """`no_retry_on` names classes, and means those derived from them too."""
    lines = watched.ran("fails_for_good", ["KeyError", "ValueError"])

    assert [line.get("attempts") for line in lines] == [None, 5]


def test_a_wrong_input_is_not_tried_again(watched: Watched) -> None:
    """Another time it would be just as wrong."""
    lines = watched.ran("square", ["nine"], max_attempts=5)

    assert lines[0]["error"]["kind"] == "invalid_input"
    assert "attempts" not in lines[0]


def test_an_item_takes_two_workers_down_at_most(watched: Watched) -> None:
    """However many attempts it has."""
    job = watched.submit("crash_if", [[0, 1], [1, 1], [2, 1]], max_attempts=50)

    lines = watched.results(job)
    assert [line.get("attempts") for line in lines] == [None, 2, None]
    assert [attempt["error"]["kind"] for attempt in watched.item(job, 1)["attempts"]] == ["crashed"] * 2


@pytest.mark.parametrize("items", [1, 20])
def test_attempts_survive_a_restart(tmp_path: Path, items: int) -> None:
    """A service that is killed goes on counting where it was; an item among others too."""
    path = tmp_path / "f"
    with serving(tmp_path / "data", tasks=HABITS) as server:
        with server.client() as api:
            watched = Watched(server, api)
            given = [{"path": str(path)}] + [
                {"path": str(tmp_path / f"g{n}"), "times": 0} for n in range(1, items)
            ]
            slow = watched.submit("sleep_for", [0.4] * 8, chunksize=1)
            job = watched.submit("fails_noted", given, max_attempts=5, chunksize=5)
            until(lambda: len(watched.item(job)["attempts"]) >= 2, 10, "two attempts are stored")
        server.kill()
        before = len(path.read_text().split())
        server.start()
        with server.client() as api:
            watched = Watched(server, api)
            (line, *rest) = watched.results(job)
            assert all(line["output"] == 0.4 for line in watched.results(slow))
            attempts = watched.item(job)["attempts"]
    assert all("output" in line for line in rest)
    assert line["attempts"] == 5
    assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3, 4, 5]
    # What ran when the service was killed has not been counted, and runs again.
    assert 5 <= len(path.read_text().split()) <= max(6, before + 4)
