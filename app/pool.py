"""The pool as the settings want it; the zygote is told about it before the rest of the service is imported.

Invariant: nothing heavy is imported here: the zygote loads the tasks on one core while this process, on another,
imports what serves.
"""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.begin import begin
from app.settings import Settings
from workers.files import Blobs
from workers.launcher import Begun, Launcher
from workers.limits import ChildLimits, cpu_limit, default_processes
from workers.memory import Cgroup, MemoryGuard

if TYPE_CHECKING:
    from workers.pool import Pool


@dataclass(frozen=True, slots=True)
class Launched:
    """A pool whose tasks are being loaded, and the files that its items read and write."""

    pool: "Pool"
    blobs: Blobs


@contextmanager
def launched(settings: Settings, zygote: Begun) -> Iterator[Launched]:
    """The pool, to be started and stopped by whom it is given to; if it never is, the zygote ends with this."""
    blobs = Blobs(settings.data_dir.absolute() / "files", durable=settings.durability == "power")
    guard = MemoryGuard(Cgroup.find())
    sizes = {
        "cpu": settings.processes or default_processes(cpu_limit(), guard.limit_bytes),
        "io": settings.io_processes,
    }
    with closing(Launcher(settings.tasks, blobs, _limits(settings, guard), begin)) as launcher:
        launcher.launch(zygote)
        from workers.pool import Pool  # with asyncio, beside the zygote

        yield Launched(Pool(sizes, launcher, guard), blobs)


def _limits(settings: Settings, guard: MemoryGuard) -> ChildLimits:
    return ChildLimits(
        settings.max_tasks_per_child or sys.maxsize,
        settings.max_memory_per_child,
        settings.worker_memory_bytes or guard.headroom_bytes(),
    )
