"""A disk that fails: what the store asks the operating system for is refused, below everything that is ours.

How it works: SQLite's unix layer lets each system call it makes be replaced (`xSetSystemCall`, which is there for
its own tests: sqlite.org/c3ref/vfs.html).  Ours look into a small file, mapped into memory, where a test, in this
process or another one, says which calls are to fail and with which errno.  A service is harmed by
`HARM=tests.harm.disk HARM_DISK=<that file> python -m tests.harm`.  Payload files have an `os` that does the same.

Invariant: a call that is not to fail is the real one.  fsync cannot be replaced.
"""

import _sqlite3  # the module whose library it is
import ctypes
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.stores import payloads

CALLS = ("pwrite64", "ftruncate", "pread64", "open", "mmap")
WRITES = ("pwrite64", "ftruncate")
READS = ("pread64",)
FOR_EVER = 1 << 30

_STATE = struct.Struct("<iiii")
"""errno (0: nothing fails), bit mask of calls, how many of them pass first, how many fail then"""
_INT, _SIZE, _POINTER = ctypes.c_int, ctypes.c_ssize_t, ctypes.c_void_p
_FAILED = -1  # also what mmap returns, as a pointer
_PROTOTYPES = {
    "pwrite64": ctypes.CFUNCTYPE(_SIZE, _INT, _POINTER, ctypes.c_size_t, ctypes.c_int64, use_errno=True),
    "ftruncate": ctypes.CFUNCTYPE(_INT, _INT, ctypes.c_int64, use_errno=True),
    "pread64": ctypes.CFUNCTYPE(_SIZE, _INT, _POINTER, ctypes.c_size_t, ctypes.c_int64, use_errno=True),
    "open": ctypes.CFUNCTYPE(_INT, ctypes.c_char_p, _INT, _INT, use_errno=True),
    "mmap": ctypes.CFUNCTYPE(
        _SIZE, _POINTER, ctypes.c_size_t, _INT, _INT, _INT, ctypes.c_int64, use_errno=True
    ),
}


class Fault:
    """What is to fail; the same file may be looked into by another process."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_STATE.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _STATE.size)

    def begin(
        self, error: int, calls: Sequence[str] = WRITES, *, after: int = 0, times: int = FOR_EVER
    ) -> None:
        """Let `after` of these calls pass from now on, then fail so many of them."""
        self._memory[:] = _STATE.pack(error, sum(1 << CALLS.index(call) for call in calls), after, times)

    def end(self) -> None:
        self._memory[:] = bytes(_STATE.size)

    @contextmanager
    def lasting(self, error: int, calls: Sequence[str] = WRITES) -> Iterator[None]:
        """Fail every one of these calls meanwhile."""
        self.begin(error, calls)
        try:
            yield
        finally:
            self.end()

    @property
    def struck(self) -> bool:
        """Whether a call has failed since it began."""
        return _STATE.unpack(self._memory[:])[3] not in (0, FOR_EVER) or self._exhausted

    @property
    def _exhausted(self) -> bool:
        error, _, after, left = _STATE.unpack(self._memory[:])
        return bool(error) and not after and not left

    def strike(self, call: int) -> int:
        """The errno that this call is to fail with; 0 if it is not."""
        error, mask, after, left = _STATE.unpack(self._memory[:])
        if not error or not left or not mask >> call & 1:
            return 0
        self._memory[:] = _STATE.pack(error, mask, max(0, after - 1), left if after else left - 1)
        return 0 if after else int(error)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3 (sqlite.org/c3ref/vfs.html)."""

    _fields_ = (
        *((name, _INT) for name in ("version", "file_size", "path_max")),
        *((name, _POINTER) for name in (
            "next", "name", "data", "open", "delete", "access", "full_pathname", "dl_open", "dl_error", "dl_sym",
            "dl_close", "randomness", "sleep", "current_time", "last_error", "current_time_64", "set_system_call",
            "get_system_call", "next_system_call",
        )),
    )  # fmt: skip


_kept: list[object] = []
"""Callbacks that SQLite holds pointers to."""


def harm(fault: Fault) -> None:
    """Have this process's SQLite ask `fault` before every system call, from now to its end."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = _POINTER
    address = library.sqlite3_vfs_find(None)
    vfs = _Vfs.from_address(address)
    setter = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.c_char_p, _POINTER)(vfs.set_system_call)
    getter = ctypes.CFUNCTYPE(_POINTER, _POINTER, ctypes.c_char_p)(vfs.get_system_call)
    for number, name in enumerate(CALLS):
        prototype = _PROTOTYPES[name]
        callback = prototype(_harmed(prototype(getter(address, name.encode())), number, fault))
        _kept.append(callback)
        assert setter(address, name.encode(), ctypes.cast(callback, _POINTER)) == 0, f"no system call {name}"
    setattr(payloads, "os", _HarmedOs(fault))  # noqa: B010


class _HarmedOs:
    """The module `os`, for who reads and writes payloads."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, *arguments: Any) -> int:
        self._pass("pwrite64")
        return os.pwrite(*arguments)

    def pread(self, *arguments: Any) -> bytes:
        self._pass("pread64")
        return os.pread(*arguments)

    def _pass(self, call: str) -> None:
        if error := self._fault.strike(CALLS.index(call)):
            raise OSError(error, os.strerror(error))


def _harmed(real: Callable[..., int], number: int, fault: Fault) -> Callable[..., int]:
    def call(*arguments: object) -> int:
        if error := fault.strike(number):
            ctypes.set_errno(error)
            return _FAILED
        return real(*arguments)

    return call


if path := os.environ.get("HARM_DISK"):
    harm(Fault(Path(path)))
