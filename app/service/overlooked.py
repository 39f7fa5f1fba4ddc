"""What Python need not look at when it looks for garbage.

It looks for objects that know only each other; what nothing else knows any more goes without it.  Nobody is served
while it looks at all there is, so what there may be ten thousand of, and what never is in such a circle, is left out.
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
