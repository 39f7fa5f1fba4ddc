"""What jobs of one item could cost is measured with the client that measures what they do cost."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing.pool import Pool
from pathlib import Path
from typing import cast

import pytest

from bench import profile_single
from bench.bare import STEPS, Caller, Keeper
from bench.floor import SERVICE, measure, table
from bench.sampled import ITSELF, STAGES, stage_of
from bench.server import ROOT

BODY = b"3"
SOMEWHERE_ELSE = 100
SECONDS_MAX = 20


def test_each_server_answers_and_its_cost_is_told() -> None:
    """A row for each; whoever has a part in an answer used some time for it, and only who has."""
    turns = measure("tiny")

    lines = table(turns).splitlines()
    alone = [turn.cpu for turn in turns["answer"]]
    assert list(turns) == [*STEPS, SERVICE]
    assert len(lines) == 1 + len(turns)
    assert all(
        turn.rate > 0 and turn.cpu["loop"] > 0 and turn.client > 0 for its in turns.values() for turn in its
    )
    assert all(turn.cpu["workers"] > 0 for name in ("call", "keep", SERVICE) for turn in turns[name])
    assert all(cpu["workers"] == 0 for cpu in alone)


class _Elsewhere:
    """A pool whose answers show where they are from, and which looks what is on disk when it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.kept: list[bytes] = []

    def apply_async(
        self, function: Callable[[int], int], arguments: tuple[int], *, callback: Callable[[int], object]
    ) -> None:
        self.kept = kept(self._path)
        callback(function(*arguments) + SOMEWHERE_ELSE)


def kept(path: Path) -> list[bytes]:
    """What anybody finds there."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        return [row for (row,) in connection.execute("SELECT row FROM kept ORDER BY id")]


@pytest.mark.parametrize(("step", "first", "last"), [("call", [], []), ("keep", [BODY], [BODY, b"109"])])
def test_a_server_that_does_more_does_all_of_it(
    tmp_path: Path, step: str, first: list[bytes], last: list[bytes]
) -> None:
    """It answers what the pool said; one that keeps has committed what was sent before it asks, and the square then."""
    path = tmp_path / "kept.sqlite"
    pool = _Elsewhere(path)
    caller = Caller(cast("Pool", pool))

    async def ask() -> int:
        async with asyncio.timeout(SECONDS_MAX):
            return await (caller if step == "call" else Keeper(caller, path)).make(BODY, int(BODY))

    assert asyncio.run(ask()) == 9 + SOMEWHERE_ELSE
    assert (pool.kept, kept(path)) == (first, last)


def test_what_the_loop_does_for_a_job_of_one_item_is_told_by_stage() -> None:
    """Of its CPU time all is told, and most of it as that of a stage, not of looking."""
    told = profile_single.measure("tiny")

    loop = {what: used for (where, what), used in told.items() if where == "loop"}
    stages = sum(used for what, used in loop.items() if what in {*STAGES, ITSELF})
    assert {*STAGES, ITSELF} < set(loop)
    assert 0 < sum(loop.values()) < 2 * stages
    assert min(used for (where, _), used in told.items() if where != "loop") > 0


def test_each_stage_is_of_code_that_is_there() -> None:
    """What is of no stage counts for who called it; whoever calls nobody's is the loop itself."""
    names = [name for stage in STAGES.values() for name in stage]
    ours = [name for name in names if name.startswith(("app", "workers"))]
    assert [name for name in ours if not (ROOT / name).exists()] == []

    shared, library = f"{ROOT}/app/domain/job.py", asyncio.__file__
    assert stage_of(iter([shared, f"{ROOT}/app/service/writer.py", f"{ROOT}/app/api/jobs.py"])) == "results"
    assert stage_of(iter([f"{ROOT}/workers/wire.py"])) == "workers"
    assert stage_of(iter([shared, library])) == ITSELF
