"""A worker's flight recorder: memory that outlives it, with what it printed and where it stood.

How it works: a memfd whose first part is for stacks, written by `faulthandler` from within a signal handler and
so even while C code holds the interpreter; the rest is the worker's stdout and stderr, C code's included.  The
pool holds it too, and reads it when there is nobody left to ask.  The log begins with the last byte of the first
part, which stays when the log is cut: whether it is 0 tells, without a system call, if anything was printed.

Invariant: what one item printed is never taken for another's, and a runaway printer takes bounded memory.
"""

import contextlib
import ctypes
import io
import mmap
import os
import sys

STACK_BYTES = 64 << 10
LOG_START = STACK_BYTES - 1
LOG_HEAD_BYTES = 4 << 10
LOG_TAIL_BYTES = 12 << 10
LOG_KEPT_BYTES = 1 << 20
"""Beyond this the pool takes the middle out of what a worker has printed."""

_CALLERS = ("/workers/calling.py", "/workers/chunk.py", "/workers/light.py", "/workers/members.py")
"""Where tasks are called from."""
_PUNCH_HOLE_KEEP_SIZE = 0x03
_PAGE = 4096


def _unbuffered(fd: int) -> io.TextIOWrapper:
    """A text stream that keeps nothing back, for a death gives no warning."""
    return io.TextIOWrapper(
        io.FileIO(fd, "w", closefd=False), "utf-8", "backslashreplace", write_through=True
    )


class Recorder:
    """The worker's side."""

    def __init__(self, fd: int) -> None:
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.stdout = _unbuffered(1)
        sys.stderr = _unbuffered(2)
        os.lseek(fd, LOG_START, os.SEEK_SET)  # 1 and 2 share this position
        self._log = fd
        self.first = ctypes.c_ubyte.from_buffer(mmap.mmap(fd, STACK_BYTES), LOG_START)
        """False while nothing was printed; for who has no time to ask `printed`, or to look up an index."""
        # A position of its own in the same memory.
        self.stack_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)

    def printed(self) -> bool:
        """Whether there is anything since `take`, from Python, from C or from a child; costs next to nothing."""
        return bool(self.first)

    def take(self) -> str:
        """What was printed since the last time, shortened; empty if nothing."""
        if not self.printed():
            return ""
        text = _log(self._log)
        os.ftruncate(self._log, STACK_BYTES)
        self.first.value = 0
        os.lseek(self._log, LOG_START, os.SEEK_SET)
        return text

    def forget_stack(self) -> None:
        """The stack that was written is of no use any more."""
        os.pwrite(self.stack_fd, bytes(LOG_START), 0)
        os.lseek(self.stack_fd, 0, os.SEEK_SET)


class BlackBox:
    """The pool's side."""

    def __init__(self, worker_id: int) -> None:
        self.fd = os.memfd_create(f"worker-{worker_id}")
        os.ftruncate(self.fd, STACK_BYTES)
        self._punched = STACK_BYTES

    def stack(self) -> str:
        """The stack written last, from the task's own frames on; empty if there is none."""
        text = os.pread(self.fd, LOG_START, 0).partition(b"\0")[0].decode(errors="replace")
        return own_frames(text)

    def log(self) -> str:
        """What the worker had printed during its last item, shortened."""
        return _log(self.fd)

    def bound(self) -> bool:
        """Take the middle out of a log that has grown too long, and tell if it had; a system call where it has not."""
        size = os.fstat(self.fd).st_size
        if size < self._punched:
            self._punched = STACK_BYTES
        too_long = size - self._punched > LOG_KEPT_BYTES
        if too_long:
            start = _up(LOG_START + LOG_HEAD_BYTES)
            stop = size - LOG_TAIL_BYTES - _PAGE
            with contextlib.suppress(OSError):
                _punch(self.fd, start, stop - start)
            self._punched = size
        return too_long

    def close(self) -> None:
        os.close(self.fd)


def _log(fd: int) -> str:
    """Head and tail of the log; a hole punched into it lies between the two."""
    size = os.fstat(fd).st_size - LOG_START
    if size <= LOG_HEAD_BYTES + LOG_TAIL_BYTES:
        text = os.pread(fd, size, LOG_START)
        return "" if text == b"\0" else text.decode(errors="replace")
    head = os.pread(fd, LOG_HEAD_BYTES, LOG_START).decode(errors="replace")
    tail = os.pread(fd, LOG_TAIL_BYTES, LOG_START + size - LOG_TAIL_BYTES).decode(errors="replace")
    return f"{head}\n… {size - LOG_HEAD_BYTES - LOG_TAIL_BYTES} bytes left out …\n{tail}"


def own_frames(stack: str) -> str:
    """faulthandler's text, innermost frame first, up to where our own code called the task."""
    lines = []
    for line in stack.splitlines():
        if any(place in line for place in _CALLERS):
            break
        lines.append(line)
    return "\n".join(lines)


def _punch(fd: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


def _up(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
