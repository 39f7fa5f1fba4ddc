"""In one worker, what runs side by side and what runs one by one take turns."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.unit.lone_worker import LoneWorker, a_lone_worker
from workers.wire import Frame, FrameReader, Kind

_READ_BYTES = 1 << 16


def test_a_chunk_that_came_among_coroutines_runs_once(tmp_path: Path) -> None:
    """It is not taken for new when the next coroutines have ended."""
    with a_lone_worker(tmp_path, "tests.integration.habits", "workers.tasks") as worker:
        frames = _frames(worker)
        worker.send_at_once(("nap", b"0"), ("echo", b'"first"'))
        told = [_output(frames), _output(frames)]
        worker.send("nap", [b"0"], light=False)
        told.append(_output(frames))
        worker.send("echo", [b'"second"'], light=False)
        told.append(_output(frames))

    assert told == [worker.process.pid, "first", worker.process.pid, "second"]


def _frames(worker: LoneWorker) -> Iterator[Frame]:
    reader = FrameReader()
    while data := worker.connection.recv(_READ_BYTES):
        yield from reader.feed(data)


def _output(frames: Iterator[Frame]) -> object:
    """What the one item of the next chunk gave."""
    lines = b""
    for frame in frames:
        if frame.kind is Kind.DONE:
            break
        lines += frame.body if frame.kind is Kind.PART else b""
    return json.loads(lines)["output"]
