"""Long items are run as short ones are, and cost no more memory than the largest chunk of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.lone_worker import LoneWorker, a_lone_worker
from workers.report import LONG_BYTES, TOGETHER_MAX
from workers.wire import Frame, Kind

CHUNKS = 20
FAULTS_MAX = 200
"""Of pages, while a megabyte is run `CHUNKS` times; each time anew it would be about 20,000."""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LoneWorker]:
    with a_lone_worker(tmp_path, "tests.unit.odd_tasks", "workers.tasks") as worker:
        yield worker


def parts_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.body for frame in frames if frame.kind is Kind.PART)


@pytest.mark.parametrize("light", [True, False])
def test_long_items_among_short_ones_keep_their_lines(worker: LoneWorker, *, light: bool) -> None:
    """Whether they are copied, joined or sent as they are; those that fail and those that are no JSON as well."""
    longs = [letter * (LONG_BYTES + 7) for letter in "abc"]
    values = [longs[0], 1, {"key": longs[1]}, "", longs[2], None]
    lines = [
        *(json.dumps(value, separators=(",", ":")).encode() for value in values),
        b'"' + b"x" * LONG_BYTES,
    ]

    told = parts_of(worker.run("echo", lines, light=light, key_field="key"))

    *results, broken = map(json.loads, told.splitlines())
    for result in results:
        result.pop("duration_ms", None)  # of one that was interrupted for long, by a machine that is busy
    assert results == [
        {"index": 100 + place, "output": value} | ({"key": value["key"]} if isinstance(value, dict) else {})
        for place, value in enumerate(values)
    ]
    assert broken["index"] == 100 + len(values)
    assert broken["error"]["kind"] == "invalid_input"


def test_more_long_results_than_are_sent_apart(worker: LoneWorker) -> None:
    """They are put together first."""
    values = [letter * LONG_BYTES for letter in map(chr, range(ord("A"), ord("A") + TOGETHER_MAX // 2))]

    told = parts_of(worker.run("echo", [json.dumps(value).encode() for value in values], light=False))

    assert [json.loads(line)["output"] for line in told.splitlines()] == values


def test_memory_that_was_used_is_used_again(worker: LoneWorker) -> None:
    """The pages of one chunk's buffers are those of the next: each fault is a few microseconds."""
    lines = [b'"%b"' % (b"x" * 100_000)] * 10
    for _ in range(3):
        worker.run("echo", lines, light=False)

    before = _faults(worker.process.pid)
    for _ in range(CHUNKS):
        worker.run("echo", lines, light=False)

    assert _faults(worker.process.pid) - before < FAULTS_MAX


def _faults(pid: int) -> int:
    """How often the process had to be given a page (proc(5), `minflt`)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
