"""Ends an item from outside, kindly: a signal that becomes an exception in the task.

How it works: the pool writes which mark it means, and why, into shared memory, then sends `SIGNAL`.  First
`faulthandler` writes the stack, from C, so even if the interpreter is held; then, once the main thread is back in
Python, `Interrupter` raises in it, but only while the very item that was meant is running.

Invariant: no item is ever interrupted in another's stead, and nothing of ours is interrupted at all.
"""

import faulthandler
import signal
import sys
from enum import IntEnum
from types import CodeType, FrameType

from workers.blackbox import Recorder
from workers.wire import Marks

SIGNAL = signal.SIGUSR1


class Why(IntEnum):
    TIMEOUT = 1
    CANCELLED = 2


class ItemCancelled(BaseException):
    """The job was cancelled; clean up and let this pass.  Not an `Exception`, so that few catch it by accident."""


class Interrupter:
    """Raises in the item that runs, when it is told to."""

    def __init__(self, marks: Marks, recorder: Recorder, between: CodeType) -> None:
        """While `between` itself runs, open or not, it is between two items, and none is interrupted."""
        self._marks = marks
        self._between = between
        self.open = False
        """Whether the task's own code is running, or that between two items."""
        self.hit: Why | None = None
        """Why the item that runs was interrupted."""
        self.signalled = False
        """Whether a stack was written since `settle`."""
        self.limit_seconds: float | None = None
        """The time limit of the items that run, to tell."""
        self._recorder = recorder
        self._raised: BaseException | None = None
        sys.unraisablehook = self._on_unraisable
        signal.signal(SIGNAL, self._on_signal)
        faulthandler.register(SIGNAL, file=recorder.stack_fd, all_threads=False, chain=True)

    def settle(self) -> None:
        """The item that ran is over."""
        self.hit = self._raised = None
        self.signalled = False
        self._recorder.forget_stack()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number
        marks = self._marks
        self.signalled = True
        marks.heard.value = marks.meant.value
        if not self.open or marks.meant.value != marks.mark.value:
            return
        if frame is not None and frame.f_code is self._between:
            return
        self.open = False
        self.hit = Why(marks.why.value)
        if self.hit is Why.TIMEOUT:
            self._raised = TimeoutError(f"took longer than {self.limit_seconds:g} s")
        else:
            self._raised = ItemCancelled("the job was cancelled")
        raise self._raised

    def _on_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """In a finalizer, where garbage of any item may end, Python drops what is raised: then nothing was hit."""
        if unraisable.exc_value is not None and unraisable.exc_value is self._raised:
            self.hit = self._raised = None
        else:
            sys.__unraisablehook__(unraisable)
