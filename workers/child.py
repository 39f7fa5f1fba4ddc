"""A worker process: takes frames from its socket and runs chunks until it is told to stop.

Invariant: it shares nothing with other workers but the memory words it alone writes.
"""

import contextlib
import faulthandler
import gc
import logging
import mmap
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from workers.blackbox import Recorder
from workers.chunk import Runner
from workers.files import BLOBS, Blobs
from workers.limits import ChildLimits, limit_data
from workers.task import TaskSpec
from workers.wire import HEADER, Frame, Kind, Marks

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OOM_SCORE = 500
"""When the kernel must end something, better a worker than the service (proc(5), oom_score_adj)."""

KEPT_BYTES = 16 << 20
"""So much memory that was used and is free again a worker keeps to use again, once it has used that much."""


def prepare_process(recorder: Recorder) -> None:
    """Make a freshly forked process a good worker: on its own, reproducible in nothing, quick to die."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    faulthandler.enable(recorder.stack_fd, all_threads=False)
    logging.basicConfig(stream=sys.stderr, format=LOG_FORMAT, level=logging.INFO, force=True)
    random.seed()
    # To ask numpy for it would load it: 2 MiB in every worker.
    if random_of_numpy := sys.modules.get("numpy.random"):
        random_of_numpy.seed()
    gc.enable()


def serve(
    connection: socket.socket,
    recorder: Recorder,
    memory: mmap.mmap,
    worker_id: int,
    specs: Mapping[str, TaskSpec],
    described: bytes,
    blobs: Blobs,
    limits: ChildLimits,
) -> None:
    """Run what comes until the end of the stream, or until the worker has done enough.

    `described` is what it says when it is asked for its tasks.
    """
    BLOBS.set(blobs)
    # To free what was mapped has malloc map only what is larger, and keep twice as much (mallopt(3), M_MMAP_THRESHOLD).
    # Else it gives back each chunk's buffers and gets others, and each of their pages costs a fault.  None of these
    # pages is touched: `bytes` are zero as they come, where a `bytearray` writes that, for half of a worker's start.
    bytes(KEPT_BYTES // 2)
    marks = Marks(memory, worker_id)
    runner = Runner(specs, marks, recorder, limits, lambda *frames: _send(connection, *frames))
    if limits.data_bytes_max is not None:
        limit_data(limits.data_bytes_max)
    frame: Frame | None = None
    while not runner.leaving:
        frame = frame or _next(connection)
        if frame is None:
            return
        following = None
        match frame.kind:
            case Kind.CHUNK if runner.side_by_side(frame):
                # Brings asyncio, which others do without; the zygote has loaded it if there is such a task.
                from workers.coroutines import SideBySide

                following = SideBySide(connection, runner).run(frame)
            case Kind.CHUNK:
                runner.run(frame)
            case Kind.DESCRIBE:
                _send(connection, Frame(Kind.TASKS, described))
            case Kind.CANCEL:
                pass  # what it meant has ended meanwhile
        frame = following


def _next(connection: socket.socket) -> Frame | None:
    if (received := _receive(connection, HEADER.size)) is None:
        return None
    head_length, length, kind, chunk_id, first, count, failed = HEADER.unpack(received[0])
    if (received := _receive(connection, head_length, length)) is None:
        return None
    head, body = received
    return Frame(Kind(kind), body, chunk_id, first, count, failed, bytes(head))


def _receive(connection: socket.socket, *lengths: int) -> list[bytearray] | None:
    """A buffer of each of these lengths, filled; None at the end of the stream."""
    buffers = [bytearray(length) for length in lengths]
    left = [memoryview(buffer) for buffer in buffers if buffer]
    while left:
        got = connection.recvmsg_into(left)[0]
        if got == 0:
            return None
        while left and got >= len(left[0]):
            got -= len(left.pop(0))
        if got:
            left[0] = left[0][got:]
    return buffers


def _send(connection: socket.socket, *frames: Frame) -> None:
    """Frames that are sent together wake the pool once."""
    parts = [part for frame in frames for part in frame.buffers()]
    sent = connection.sendmsg(parts)
    for part in parts:
        if sent < len(part):
            connection.sendall(memoryview(part)[sent:])
        sent = max(0, sent - len(part))
