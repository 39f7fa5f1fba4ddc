"""The process around a probe: `python -m bench.faults.warden LIBRARY FAULT WAY` prints what the probe saw, as JSON.

How it works: it is a child subreaper (prctl(2)), so a process that has lost its parent becomes its child and cannot
get lost.  It gives the probe as long as all that it does may take, and then ends every process below itself by its id.

Invariant: when it returns, nothing that the library started runs any more, and its files are gone.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from bench.faults import probe
from bench.faults.catalogue import BY_NAME, Way
from bench.faults.observation import Observation
from bench.faults.tasks import MOMENTS_FILE
from bench.server import ROOT, START_SECONDS_MAX

SECONDS_MAX = START_SECONDS_MAX + probe.SECONDS_MAX
WARDEN_SECONDS_MAX = SECONDS_MAX + 30.0
"""More than a warden ever takes; it bounds the probe itself."""
ORPHAN_SECONDS = 2.0
"""How long after its parent's death a process may still be there."""
TIDYING_SECONDS = 1.0
_ENDING_SECONDS_MAX = 5.0
_POLL_SECONDS = 0.01
PR_SET_CHILD_SUBREAPER = 36


def observe(library: str, fault: str, way: Way, paths: Iterable[Path] = ()) -> Observation | None:
    """What becomes of one fault in one library; None if the pool did not even start, and why is told."""
    search = os.pathsep.join([str(ROOT), *map(str, paths)])
    with tempfile.TemporaryFile("w+") as told:  # a pipe would be held by whom the library leaves behind
        result = subprocess.run(
            [sys.executable, "-m", "bench.faults.warden", library, fault, way],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": search},
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            check=True,
            timeout=WARDEN_SECONDS_MAX,
        )
        if result.stdout:
            return Observation.load(result.stdout)
        told.seek(0)
        sys.stderr.write(told.read())
    return None


def watch(library: str, fault: str, way: str, folder: Path) -> Observation | None:
    """What the probe saw; None if it never came so far."""
    environment = os.environ | {MOMENTS_FILE: str(folder / "moments"), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "bench.faults.probe", library, fault, way, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS_MAX
    if BY_NAME[fault].kind == "parent":
        return kill_parent(process, folder / probe.PARENT_FILE, deadline)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_MAX)
    seen = folder / probe.SEEN_FILE
    return Observation.load(seen.read_text()) if seen.exists() else None


def kill_parent(process: subprocess.Popen[bytes], told: Path, deadline: float) -> Observation | None:
    """SIGKILL the workers' parent once it is known, and count who is still there two seconds later."""
    while not told.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            return None
        time.sleep(_POLL_SECONDS)
    parent = int(told.read_text())
    family = {child.pid for child in psutil.Process(parent).children(recursive=True)}
    os.kill(parent, signal.SIGKILL)
    time.sleep(ORPHAN_SECONDS)
    return Observation(left=len(family & {left.pid for left in running()}))


def running() -> list[psutil.Process]:
    """Every process below this one that has not ended."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_all() -> None:
    """SIGKILL every process below this one, until there is none: one may start another meanwhile.

    The standard library's resource trackers are left a second to end by themselves: they remove semaphores then.
    """
    began = time.monotonic()
    while (left := running()) and time.monotonic() < began + _ENDING_SECONDS_MAX:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                if time.monotonic() > began + TIDYING_SECONDS or not _tidies(process):
                    process.kill()
        time.sleep(_POLL_SECONDS)


def _tidies(process: psutil.Process) -> bool:
    return any("resource_tracker" in argument for argument in process.cmdline())


def main(library: str, fault: str, way: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="millpond-faults-") as folder:
        try:
            seen = watch(library, fault, way, Path(folder))
        finally:
            end_all()
    if seen is not None:
        sys.stdout.write(seen.dump())


if __name__ == "__main__":
    main(*sys.argv[1:4])
