"""What Python's garbage collector may skip.

It looks for objects that know only each other; all others are freed without it.  Nobody is served while it goes through
everything, so objects that are never in such a cycle, and of which there may be ten thousand, are left out.
"""

import ctypes
from typing import TypeVar

T = TypeVar("T")

_untrack = ctypes.pythonapi.PyObject_GC_UnTrack
"""https://docs.python.org/3/c-api/gcsupport.html#c.PyObject_GC_UnTrack; what is untracked already stays so."""
_untrack.argtypes = [ctypes.py_object]
_untrack.restype = None


def overlooked(thing: T) -> T:
    """The same object, which is never to be part of a circle that nothing else knows (ADR 12)."""
    _untrack(thing)
    return thing
