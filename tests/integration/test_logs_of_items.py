"""What an item prints is kept with that item, in bounds, and with no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.matrix import Watched, until
from tests.integration.watching import watching

WAYS = ["print", "stderr", "write", "write2", "logging", "child", "c"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("logs")) as watched:
        yield watched


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_print_ends_up_in_the_items_own_log(watched: Watched, how: str) -> None:
    """Whatever code wrote it, and however quickly: its neighbours in the chunk have their own text, or none."""
    count = 30
    items = [{"text": f"text-{n}", "how": how if n % 2 else "not"} for n in range(count)]
    job = watched.submit("say", items, chunksize=count)
    watched.results(job)

    for n in range(count):
        log = watched.item(job, n)["log"]
        if n % 2 == 0:
            assert log is None
        else:
            assert log.rstrip().endswith(f"text-{n}")
            assert log.count("text-") == 1


def test_a_failure_carries_its_own_log(watched: Watched) -> None:
    """Also where its worker died; and a neighbour's is not in it."""
    lines = watched.ran("say_and_fail", ["one", "two"], chunksize=2)
    assert [line["error"]["log"] for line in lines] == ["one\n", "two\n"]

    died = watched.ran("say_and_die", ["one", "two"], chunksize=2)
    assert [line["error"]["log"] for line in died] == ["one\n", "two\n"]


def test_a_neighbour_does_not_inherit_the_log_of_a_crash(watched: Watched) -> None:
    """It ran before, in the same worker, and printed by a system call alone."""
    job = watched.submit("say", [{"text": f"text-{n}", "how": "write"} for n in range(5)], chunksize=5)
    watched.results(job)
    (line,) = watched.ran("say_and_die", ["mine"])

    assert line["error"]["log"] == "mine\n"


def test_a_long_log_keeps_its_head_and_its_tail(watched: Watched) -> None:
    """The middle is left out, and says how much."""
    job = watched.submit("print_lines", [100_000])
    watched.results(job)

    log = watched.item(job)["log"]
    assert len(log) < 20_000
    assert log.startswith("line 1 of 100000\nline 2 of")
    assert log.endswith("line 100000 of 100000\n")
    assert "bytes left out" in log


def test_progress_is_shown_while_the_item_runs(watched: Watched, tmp_path: Path) -> None:
    """Share and message, and the worker it is with; when it has ended there is only its result."""
    path = tmp_path / "go"
    job = watched.submit("half_way", [str(path)])

    until(lambda: watched.item(job)["progress"], 5, "it tells")
    shown = watched.item(job)
    path.touch()

    assert shown["progress"] == {"share": 0.5, "message": "half-way"}
    assert shown["status"] == "running"
    assert shown["worker"]["pid"] in watched.workers()
    assert [line["output"] for line in watched.results(job)] == ["done"]
    assert watched.item(job)["progress"] is None


def test_what_a_cancelled_item_printed_is_not_the_next_ones(tmp_path: Path) -> None:
    """The item has no result that could carry it, and the worker goes on."""
    with watching(tmp_path, processes="1") as watched:
        job = watched.submit("clean_up", [30])
        until(lambda: watched.item(job)["status"] == "running", 5, "it runs")
        watched.api.post(f"/v1/jobs/{job}/cancel")
        watched.ended(job, "cancelled")
        after = watched.submit(
            "say", [{"text": "mine", "how": "print"}, {"text": "", "how": "not"}], chunksize=2
        )
        watched.results(after)

        assert [watched.item(after, n)["log"] for n in range(2)] == ["mine\n", None]
