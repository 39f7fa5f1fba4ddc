"""What Python's garbage collector looks at: objects that know each other, and that nobody else knows any more.

Nobody is served while it looks.

How it works: Python looks at what is young once more objects were made than went.  Where as many go as come, as with
thousands of viewers, a hundred thousand new ones may be there by then, and even a collection of the youngest is long.
So after some requests, parts of answers and reads these are counted, and once `MANY` have come all is looked at that
is not put aside.  What is left of that is put aside, where it is much.

Invariant: what is put aside is freed like everything else once nobody knows it.  Only cycles would stay, so nothing
that there may be thousands of is one: neither connections (`app.api.protocol`) nor jobs (`app.service.overlooked`).
"""

import gc
from typing import Any
from weakref import ref

NOTED = 32
"""Requests, parts of answers and reads between two counts; each may leave a hundred objects."""
MANY = 4_000
"""Objects; to look at many takes a millisecond, and several on a busy machine."""
THRESHOLDS = 700, 5, 1
"""Where nothing is noted, everything is looked at after 8,400 new objects; Python would do so after 70,000."""
KEPT_MAX = 1_000_000
"""Objects put aside after the start, beyond which no more are: so what stays by mistake is bounded, to some 100 MB.

Ten thousand viewers are about as many.
"""
SAMPLED = 31
"""Of so many that are put aside one tells, if Python lets it, how many are still there.

To count them takes as long as to look for garbage.  A prime, as each connection has the same objects in a row.
"""


class Collector:
    """Has Python look for garbage among a few thousand objects at a time."""

    def __init__(self) -> None:
        self._noted = 0
        self._come = 0
        """Objects, at most, that have come since the last collection of everything, without the youngest."""
        self._left = 0
        """By the last collection of everything, and not put aside."""
        self._samples: list[tuple[float, ref[object]]] = []
        """Of what was put aside, and of how many each is one."""

    def begin(self) -> None:
        """Have Python look for garbage from now on, but no more at what is there: modules, which are there to stay.

        Nor does it now: of what an import leaves there is one object in a hundred that could go, and to find them
        takes a tenth of the start.
        """
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._on_collection)
        gc.enable()

    def note(self) -> None:
        """A request has come, a part of an answer goes, or the store is read."""
        self._noted += 1
        if self._noted < NOTED:
            return
        self._noted = 0
        youngest = len(gc.get_objects(0))
        many = max(
            MANY, self._left // 4
        )  # where many are left, they are not looked at for each few that come
        if self._come + youngest >= many and self._counted() + youngest >= many:
            gc.collect()

    def _counted(self) -> int:
        """How many of those that have come are still there."""
        self._come = len(gc.get_objects(1)) + len(gc.get_objects(2)) - self._left
        return self._come

    def _on_collection(self, phase: str, what: dict[str, Any]) -> None:
        if what["generation"] < 2:
            if phase == "start":
                self._come += len(gc.get_objects(0))
        elif phase == "stop":
            self._come = 0
            self._put_aside(gc.get_objects())

    def _put_aside(self, left: list[object]) -> None:
        """What is left of everything, if it is much, and there is room for it."""
        self._left = len(left)
        if self._left < MANY // 2:
            return
        self._samples = [(count, sample) for count, sample in self._samples if sample() is not None]
        if sum(count for count, _ in self._samples) + self._left > KEPT_MAX:
            return
        telling = [thing for thing in left[::SAMPLED] if type(thing).__weakrefoffset__]
        if not telling:
            return  # nobody would ever know how many of them are still there
        self._samples += [(self._left / len(telling), ref(thing)) for thing in telling]
        gc.freeze()
        self._left = 0
