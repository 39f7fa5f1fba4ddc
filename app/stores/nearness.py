"""Keeps a thread on the processor of another, with which it takes turns.

How it works: of one interpreter's threads one runs at a time.  Where two that hand work to each other do so on two
processors, each is woken there, and finds what it needs in the other's caches.  So one of them follows: before it
works it moves to where the other was seen last.  What takes long, most of it without the interpreter's lock, is better
done side by side: after such a piece of work the thread may be anywhere again, until one was short.

Invariant: where a system does not tell or allow this, all goes on as it would.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

LONG_SECONDS = 0.002
"""Of CPU."""


def processor_asker() -> Callable[[], int] | None:
    """Of the system (sched_getcpu(3)); None where it does not tell."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


class Nearness:
    """Of one thread to another, which is the main one."""

    def __init__(self, processor: Callable[[], int] | None) -> None:
        """`processor` says on which one its caller runs."""
        self._processor = processor
        self._seen: int | None = None
        self._kept: int | None = None
        """Where the thread that follows may run; None: anywhere."""
        self._apart = False
        """Whether its last piece of work was long."""

    def seen(self) -> None:
        """The thread that is followed is here now, and says so itself."""
        if self._processor is not None:
            self._seen = self._processor()

    @contextmanager
    def working(self) -> Iterator[None]:
        """The thread that follows does a piece of work."""
        if self._processor is None:
            yield
            return
        if self._seen != self._kept and not self._apart:
            self._keep(self._seen)
        began = time.thread_time()
        yield
        self._apart = time.thread_time() - began > LONG_SECONDS
        if self._apart and self._kept is not None:
            self._keep(None)

    def _keep(self, processor: int | None) -> None:
        """Let the thread that calls run there only, or wherever the main thread may."""
        with suppress(OSError):  # it was taken from us meanwhile, or we may not choose
            os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()) if processor is None else {processor})
            self._kept = processor
