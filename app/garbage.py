"""What Python's garbage collector looks at: objects that know each other, and that nobody else knows any more.

A full collection looks at everything that is not put aside, and nobody is served meanwhile.

Invariant: what is put aside is freed like everything else once nobody knows it.  Only cycles would stay, so nothing
that there may be thousands of is one: neither connections (`app.api.protocol`) nor jobs (`app.service.overlooked`).
"""

import gc
import time
from typing import Any

LONG_SECONDS = 0.005
"""CPU time of a collection that is to be the last to look at what it has left."""
KEPT_MAX = 300_000
"""Objects put aside after the start, beyond which no more are: so what stays by mistake is bounded, to some 30 MB."""


def put_aside() -> None:
    """Have Python look for garbage from now on, but no more at what is there: modules, which are there to stay.

    Nor does it now: of what an import leaves there is one object in a hundred that could go, and to find them takes a
    tenth of the start.
    """
    gc.freeze()
    gc.callbacks.append(_Collections())
    gc.enable()


class _Collections:
    """Puts aside what a long collection has left, such as thousands of connections."""

    def __init__(self) -> None:
        self._at_start = gc.get_freeze_count()
        self._began = 0.0

    def __call__(self, phase: str, what: dict[str, Any]) -> None:
        if what["generation"] < 2:  # the full one
            return
        now = time.thread_time()
        if phase == "start":
            self._began = now
        elif now - self._began > LONG_SECONDS and gc.get_freeze_count() - self._at_start < KEPT_MAX:
            gc.freeze()
