"""A worker process: takes frames from its socket and runs chunks until it is told to stop.

Invariant: it shares nothing with other workers but the memory words it alone writes.
"""

import contextlib
import faulthandler
import gc
import json
import mmap
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from workers.chunk import Runner
from workers.files import BLOBS, Blobs
from workers.task import TaskSpec
from workers.wire import HEADER, Frame, Kind, Marks

OOM_SCORE = 500
"""When the kernel must end something, better a worker than the service (proc(5), oom_score_adj)."""


def prepare_process() -> None:
    """Make a freshly forked process a good worker: on its own, reproducible in nothing, quick to die."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    faulthandler.enable(all_threads=True)
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    gc.enable()


def serve(
    connection: socket.socket,
    memory: mmap.mmap,
    worker_id: int,
    specs: Mapping[str, TaskSpec],
    files: Path,
) -> None:
    """Run what comes until `Kind.STOP` or the end of the stream."""
    BLOBS.set(Blobs(files))
    runner = Runner(specs, Marks(memory, worker_id), lambda frame: _send(connection, frame))
    while True:
        header = _receive(connection, HEADER.size)
        if header is None:
            return
        length, kind, chunk_id, first, count, failed = HEADER.unpack(header)
        body = _receive(connection, length)
        if body is None:
            return
        match kind:
            case Kind.CHUNK:
                runner.run(Frame(Kind.CHUNK, body, chunk_id, first, count, failed))
            case Kind.DESCRIBE:
                described = [spec.describe() for spec in specs.values()]
                _send(connection, Frame(Kind.TASKS, json.dumps(described).encode()))
            case Kind.STOP:
                return


def _receive(connection: socket.socket, count: int) -> bytes | None:
    """Exactly `count` bytes; None at the end of the stream."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    have = 0
    while have < count:
        got = connection.recv_into(view[have:])
        if got == 0:
            return None
        have += got
    return bytes(buffer)


def _send(connection: socket.socket, frame: Frame) -> None:
    header = frame.header()
    sent = connection.sendmsg([header, frame.body])
    if sent < len(header):
        connection.sendall(header[sent:])
        sent = len(header)
    if sent < len(header) + len(frame.body):
        connection.sendall(memoryview(frame.body)[sent - len(header) :])
