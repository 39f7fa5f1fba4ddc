"""`python -m bench.sampled`: the service, which says on its log what its event loop used its CPU time for.

From one SIGUSR1 to the next its stack is looked at again and again, and the CPU time that the loop's thread has used
since the last look is put down to what it is at.  The second one has it write a line, `sampled {…}`: milliseconds by
stage.  The clock that says when to look is that of the thread's own CPU time: by any other, most looks would come where
it waits, or where it wakes somebody who takes its processor.
"""

import ctypes
import json
import signal
import sys
import threading
import time
from asyncio import runners
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

INTERVAL_NS = 2_000_000
"""Of CPU time; no less than the system's tick, whatever is asked for."""
SAYS = "sampled "
ITSELF = "the loop itself"
"""Whatever is of no stage."""
STAGES = {
    "HTTP": ("uvicorn", "starlette/responses.py", "app/api/protocol.py", "app/api/cycle.py"),
    "to its route": (
        "starlette", "fastapi", "app/api/front.py", "app/api/traffic.py", "app/api/gate.py", "app/api/direct.py",
        "app/api/arguments.py", "app/api/context.py", "app/api/headers.py", "app/service/access.py",
    ),
    "body and options": (
        "app/api/submit.py", "app/api/body.py", "app/service/cutting.py", "app/service/intake.py",
        "app/service/naming.py",
    ),
    "the job": (
        "app/service/jobs.py", "app/service/quotas.py", "app/service/admission.py", "app/service/space.py",
    ),
    "the store": ("app/stores",),
    "who is next": (
        "app/service/dispatcher.py", "app/service/scheduler.py", "app/service/deadlines.py", "app/service/items.py",
    ),
    "workers": ("workers",),
    "results": ("app/service/writer.py", "app/service/recent.py"),
    "the answer": ("app/api/jobs.py", "app/api/schemas.py"),
}  # fmt: skip
"""The files and directories whose code a stage is.  What is not here serves several, and counts for its caller's."""
_STAGE = {name: stage for stage, names in STAGES.items() for name in names}
_ROOTS = {str(Path(__file__).parent.parent), *(path for path in sys.path if path.endswith("site-packages"))}


def stage_of(files: Iterator[str]) -> str:
    """The stage of a stack's files, given from the innermost one out."""
    for file in files:
        for root in _ROOTS:
            if file.startswith(root):
                parts = file[len(root) + 1 :].split("/")
                for length in range(len(parts), 0, -1):
                    if stage := _STAGE.get("/".join(parts[:length])):
                        return stage
    return ITSELF


def _files(frame: FrameType | None) -> Iterator[str]:
    """Those of what the loop called, innermost first; not of what runs the loop."""
    while frame is not None and frame.f_code.co_filename != runners.__file__:
        yield frame.f_code.co_filename
        frame = frame.f_back


class _Event(ctypes.Structure):
    """`struct sigevent`, with a thread to be signalled: sigevent(3type)."""

    _fields_ = (
        ("value", ctypes.c_void_p), ("number", ctypes.c_int), ("notify", ctypes.c_int), ("thread", ctypes.c_int),
        ("padding", ctypes.c_char * 44),
    )  # fmt: skip


_libc = ctypes.CDLL(None, use_errno=True)
_THREAD_CPU_CLOCK, _SIGNAL_THREAD = 3, 4


class _Timer:
    """Signals the thread that it is made on, whenever that has used so much CPU: timer_create(2)."""

    def __init__(self) -> None:
        event = _Event(None, signal.SIGPROF, _SIGNAL_THREAD, threading.get_native_id())
        self._id = ctypes.c_void_p()
        _must(_libc.timer_create(_THREAD_CPU_CLOCK, ctypes.byref(event), ctypes.byref(self._id)))

    def every(self, nanoseconds: int) -> None:
        """Whenever it has used so many more; 0 is never."""
        times = (ctypes.c_long * 4)(0, nanoseconds, 0, nanoseconds)  # between two of them, and to the first
        _must(_libc.timer_settime(self._id, 0, times, None))


def _must(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "a timer of the thread's CPU time")


class _Sampler:
    """Of the thread that it is made on, which must be the main one."""

    def __init__(self) -> None:
        self._milliseconds: dict[str, float] = {}
        self._on = False
        self._seen = 0.0
        self._timer = _Timer()

    def switch(self, *_: object) -> None:
        """Begin; or end, and say what was seen."""
        self._on = not self._on
        self._seen = time.thread_time()
        self._timer.every(INTERVAL_NS if self._on else 0)
        if not self._on:
            sys.stderr.write(f"{SAYS}{json.dumps(self._milliseconds)}\n")
            self._milliseconds.clear()

    def look(self, _: int, frame: FrameType | None) -> None:
        stage, used = stage_of(_files(frame)), time.thread_time() - self._seen
        self._milliseconds[stage] = self._milliseconds.get(stage, 0.0) + used * 1e3
        self._seen = time.thread_time()  # what it took to look is nobody's


if __name__ == "__main__":
    from app.__main__ import main

    sampler = _Sampler()
    signal.signal(signal.SIGUSR1, sampler.switch)
    signal.signal(signal.SIGPROF, sampler.look)
    sys.exit(main())
