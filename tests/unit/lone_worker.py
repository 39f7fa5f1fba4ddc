"""A worker without a pool: whoever holds the other end of its socket says what it runs."""

import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.blackbox import BlackBox, Recorder
from workers.child import serve
from workers.files import Blobs
from workers.limits import ChildLimits
from workers.task import discover
from workers.wire import SLOT_BYTES, Frame, FrameReader, Kind, Marks

CHUNK_ID = 7
FIRST = 100
_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class LoneWorker:
    """Runs one chunk at a time."""

    connection: socket.socket
    marks: Marks
    process: subprocess.Popen[bytes]

    def run(self, task: str, lines: Sequence[bytes], *, light: bool, **order: Any) -> list[Frame]:
        """What it reports of a chunk of these lines, to its end or to its own."""
        self.send(task, lines, light=light, **order)
        return list(self.reports())

    def send(self, task: str, lines: Sequence[bytes], *, light: bool, **order: Any) -> None:
        self.connection.sendall(chunk_of(task, lines, light=light, **order))

    def send_at_once(self, *items: tuple[str, bytes]) -> None:
        """Chunks of one item, the next of which is there when one begins."""
        self.connection.sendall(b"".join(chunk_of(task, [line], light=False) for task, line in items))

    def reports(self) -> Iterator[Frame]:
        reader = FrameReader()
        while data := self.connection.recv(_READ_BYTES):
            for frame in reader.feed(data):
                yield frame
                if frame.kind is Kind.DONE:
                    return


def chunk_of(task: str, lines: Sequence[bytes], *, light: bool, first: int = FIRST, **order: Any) -> bytes:
    """The frame of a chunk, whose first item has this index."""
    said = {
        "task": task,
        "params": {},
        "attempt": 1,
        "max_attempts": 1,
        "key_field": None,
        "timeout_seconds": None,
        "limit": 0,
        "light": light,
    }
    head = json.dumps(said | order).encode()
    body = b"".join(line + b"\n" for line in lines)
    frame = Frame(Kind.CHUNK, body, CHUNK_ID, first, len(lines), head=head)
    return b"".join(frame.buffers())


@contextmanager
def a_lone_worker(files: Path, *modules: str) -> Iterator[LoneWorker]:
    """A worker with the tasks of these modules; it ends when its socket does."""
    ours, theirs = socket.socketpair()
    memory_fd = os.memfd_create("marks")
    os.ftruncate(memory_fd, SLOT_BYTES)
    marks = Marks(mmap.mmap(memory_fd, 0), 0)
    marks.clear()
    arguments = [str(theirs.fileno()), str(memory_fd), str(files), *modules]
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], pass_fds=(theirs.fileno(), memory_fd)
    )
    theirs.close()
    os.close(memory_fd)
    ours.settimeout(20)
    with process:
        yield LoneWorker(ours, marks, process)
        ours.close()
        process.wait(10)


def main() -> None:
    connection_fd, memory_fd, files, *modules = sys.argv[1:]
    specs = discover(modules)
    connection = socket.socket(fileno=int(connection_fd))
    recorder = Recorder(BlackBox(0).fd)
    memory = mmap.mmap(int(memory_fd), 0)
    serve(connection, recorder, memory, 0, specs, b"[]", Blobs(Path(files)), ChildLimits())


if __name__ == "__main__":
    main()
