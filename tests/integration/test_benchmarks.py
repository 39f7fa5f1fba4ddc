"""Every workload runs from start to end and checks what it is given; how long anything takes is not looked at."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from types import ModuleType

import pytest

from app.domain.item import Segment
from bench import profile, profile_large
from bench.compressed import cost_of, left_out_of, measure
from bench.conditions import conditions
from bench.figure import Figure, WrongResult
from bench.following import as_document, as_lines, follow
from bench.footprint import first_result
from bench.idle import SERVICE, ZYGOTE, costs, parts
from bench.inline import seconds_for_a_job
from bench.memory import alone_bytes, pss_bytes
from bench.profile_bare import floors
from bench.report import recorded, table
from bench.server import ROOT, Server
from bench.squares import check, json_array, json_lines
from bench.workloads import WORKLOADS
from workers import light, report


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_gives_figures_that_can_be_written_and_read(name: str) -> None:
    """Tiny as it is here, each of its figures has values, and none has the name of another."""
    figures: list[Figure] = WORKLOADS[name]("tiny")

    back = recorded(table({name: figures}))
    assert all(figure.values for figure in figures)
    assert len({record.name for record in back}) == len(figures) > 0


@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    [
        ("numbers.py", "    return value\n", "    return value[:-1] + '!'\n"),
        ("faults.py", "    return used\n", "    return used - 1\n"),
    ],
    ids=["echo", "burn"],
)
def test_of_a_pool_whose_results_are_not_right_there_are_no_figures(
    tmp_path: Path, module: str, right: str, wrong: str
) -> None:
    """Of as many items, of the same size, that are others: each is looked into."""
    for package in ("app", "bench", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "workers" / "tasks" / module
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, wrong))

    command = [sys.executable, "-c", "from bench.pool_alone import measure; measure('tiny')"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith("bench.figure.WrongResult: "), said.stderr


def test_the_head_of_a_table_tells_how_fast_the_machine_is() -> None:
    """By the CPU time of a fixed piece of work, between the processor's name and the versions."""
    machine, speed, versions, command = conditions("bench", ["W1"]).splitlines()

    told = re.fullmatch(r"a million additions in Python take (\d+) ms of CPU", speed)
    assert told is not None
    assert 1 <= int(told[1]) <= 10_000
    assert "load" in machine
    assert versions.startswith("Python 3.")
    assert command.endswith("`python -m bench W1`")


def test_the_same_items_in_both_forms_give_what_is_checked(server: Server) -> None:
    """A thousand squares, as lines and as an array."""
    for submission in (as_lines("square", json_lines(1_000)), as_document("square", json_array(1_000))):
        check([follow(server.url, submission)], 1_000)


@pytest.mark.parametrize("steps", [SERVICE, ZYGOTE], ids=["service", "zygote"])
def test_whatever_is_imported_for_a_start_leaves_something_behind(steps: dict[str, str]) -> None:
    """Each step runs behind those before it, and has memory to its name; the last is told like any other."""
    *imports, (_, kept) = costs([*steps.values(), "kept = b'x' * (32 << 20)"], runs=1)

    assert len(imports) == len(steps)
    assert all(size > 0 for _, size in imports)
    assert 32 << 20 <= kept < 33 << 20


def test_idle_memory_is_taken_apart_without_a_rest(server: Server) -> None:
    """The parts are together what W7 says that a service takes."""
    first_result(server)

    told = parts(server)

    assert all(size > 0 for size in told.values())
    assert sum(told.values()) == pytest.approx(pss_bytes(server), rel=0.05)


def test_what_idle_memory_is_alone_does_not_depend_on_others(server: Server) -> None:
    """Another Python maps the same files, and a part of each page is its own from then on."""
    first_result(server)
    before, alone = pss_bytes(server), alone_bytes(server)

    program = "import numpy, pydantic, sqlite3, ssl, sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        beside, alone_beside = pss_bytes(server), alone_bytes(server)
        other.communicate()

    assert before > beside
    assert alone_beside == pytest.approx(alone, abs=1 << 20)


def test_what_a_million_squares_cost_at_least_is_measured_on_squares() -> None:
    """Each floor is of work that was done, and its lines were checked as a client's are."""
    assert all(seconds > 0 for seconds in floors(items=1_000, runs=1).values())


@pytest.mark.parametrize("in_files", [False, True])
def test_a_payload_is_measured_where_it_was_meant_to_be(in_files: bool) -> None:
    """In its row or in a file, whatever its size; the store is asked which."""
    assert seconds_for_a_job(1 << 10, 2, in_files=in_files) > 0


@pytest.mark.parametrize(("module", "items"), [(profile, 2_000), (profile_large, 12)])
def test_every_stage_of_a_profile_is_gone_through(module: ModuleType, items: int) -> None:
    """With the service's own code, whose results are looked into; a worker is reached through a socket both times."""
    rows = module.profile(items, runs=1).rows

    assert all(seconds >= 0 for *_, seconds in rows)
    stages = [stage for _, stage, _ in rows]
    ways = ["send to a worker, and read there", "send to the loop, and read there", "store: append results"]
    assert [stage for stage in stages if stage in ways] == ways


def test_squares_that_take_long_are_profiled_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine one in many takes a millisecond and is told by itself; here each is long enough for that."""
    for module in (light, report):
        monkeypatch.setattr(module, "SHOWN_SECONDS", 0.0)

    rows = profile.profile(600, runs=1).rows  # each result is looked into

    assert {"run", "encode, make lines"} <= {stage for _, stage, _ in rows}


def test_a_profile_tells_encoding_apart_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one of them takes is added to it and not to the other."""
    used = iter(range(1_000))

    class Clock:
        """One more second each time that somebody looks."""

        process_time = staticmethod(lambda: float(next(used)))

    monkeypatch.setattr(profile, "time", Clock)
    took = {stage: seconds for _, stage, seconds in profile.profile(light.STRETCH_ITEMS * 3, runs=1).rows}

    encoded = took["encode, make lines"]
    assert encoded >= 3  # more often where an item took long, which is told by itself
    assert took["run"] == encoded + 1


def test_a_way_to_compress_that_is_not_installed_is_said_to_be_left_out() -> None:
    """A table without it would be taken for all that was tried."""
    assert left_out_of(["json", "lz5"]) == ["lz5 is left out: it is not installed"]


def test_what_is_stored_compressed_comes_back_and_is_told_beside_what_is_stored_as_it_is() -> None:
    """Squares and a phrase become less by zlib, which is always there; each form has its costs for a MiB."""
    told = measure(squares=20_000, texts=4, runs=1)

    assert all(cost.store_ms > 0 for cost in told.values())
    assert {cost.share for (_, name), cost in told.items() if name == "as they are"} == {1.0}
    shares = [cost.share for (_, name), cost in told.items() if name == "zlib, level 1"]
    assert [share < 0.5 for share in shares] == [True, True, False]


def test_a_codec_that_gives_back_something_else_has_no_figures() -> None:
    """What it would save is worth nothing."""
    with pytest.raises(WrongResult):
        cost_of([Segment("job", 0, 1, 0, 0, 0, b"1\n")], (lambda data: data[:1], bytes), runs=1)
