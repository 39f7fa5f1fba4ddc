"""The process that owns a pool and has one fault happen in it: `python -m bench.faults.probe LIBRARY FAULT WAY FOLDER`.

How it works: every call of the library is made in a thread of its own that nobody waits for longer than agreed.
What was seen is written to a file, first without and then with what came after; the process then ends at once,
without asking the library to.  It cleans up nothing: that is the warden's part.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.faults.catalogue import BY_NAME, Fault, Way
from bench.faults.library import WORKERS, Ledger, Library, Work, told
from bench.faults.observation import Observation
from bench.faults.tasks import BAD, ITEMS, MOMENTS_FILE

START_SECONDS_MAX = 20.0
"""Until every worker has answered, and until a bad item has begun: on a busy machine either takes its time."""
PATIENCE_SECONDS = 4.0
"""A call that takes longer hangs: every good item takes 5 ms, and the longest limit is 1 s."""
AFTERWARDS_SECONDS_MAX = 2.5
AFTERWARDS_ITEMS = 20
REST_SECONDS = 0.5
"""Between two kills of idle workers: enough for every library to put another in the first one's place."""
SECONDS_MAX = 2 * START_SECONDS_MAX + WORKERS * 2 * REST_SECONDS + PATIENCE_SECONDS + AFTERWARDS_SECONDS_MAX
"""All that a probe takes once its library has started."""
_POLL_SECONDS = 0.002

SEEN_FILE = "seen.json"
PARENT_FILE = "parent.pid"


@dataclass(slots=True)
class Call:
    """A call of the library that may never return."""

    function: Callable[[Work, Ledger], None]
    work: Work
    ledger: Ledger = field(default_factory=Ledger)
    error: str | None = None
    error_at: float = 0.0

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self.function(self.work, self.ledger)
        except BaseException as error:
            self.error, self.error_at = told(error), time.monotonic()


def open_library(name: str) -> Library:
    """Each is imported only where it is used: one of them is not always there."""
    match name:
        case "pool":
            from bench.faults.stdlib_pool import StdlibPool

            return StdlibPool()
        case "executor":
            from bench.faults.stdlib_executor import StdlibExecutor

            return StdlibExecutor()
        case "pebble":
            from bench.faults.pebble_pool import PebblePool

            return PebblePool()
        case "millpond":
            from bench.faults.millpond import Millpond

            return Millpond()
    raise ValueError(f"there is no library {name!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of good items."""

    pids: frozenset[int] = frozenset()
    """Who answered them; nobody, if not every one was answered rightly."""
    refusal: str | None = None


def ask(library: Library, seconds: float) -> Answer:
    """Run good items until every worker has answered one, or the time is up."""
    deadline = time.monotonic() + seconds
    items = range(AFTERWARDS_ITEMS)
    pids: frozenset[int] = frozenset()
    while len(pids) < WORKERS and (left := deadline - time.monotonic()) > 0:
        call = Call(library.each, Work(items))
        call.start().join(left)
        found = [worker_if_right(call.ledger, x) for x in items]
        if None in found:
            return Answer(pids, call.error or next(iter(call.ledger.errors.values()), None))
        pids |= {pid for pid in found if pid is not None}
    return Answer(pids)


def worker_if_right(ledger: Ledger, x: int) -> int | None:
    """The process that answered an item rightly."""
    match ledger.outputs.get(x):
        case [square, int(pid)] if square == x * x:
            return pid
    return None


def moments(path: Path) -> list[tuple[int, float]]:
    """Process id and time of every misdeed so far."""
    text = path.read_text() if path.exists() else ""
    return [(int(pid), float(at)) for pid, at in (line.split() for line in text.splitlines())]


def wait_for_moments(path: Path, count: int) -> None:
    """Wait until so many items have begun their misdeed.  TimeoutError if they do not."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while len(moments(path)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not even {count} bad items have begun")
        time.sleep(_POLL_SECONDS)


def kill_one_by_one(pids: Iterable[int]) -> None:
    """SIGKILL idle workers.  A library may have ended one of them itself meanwhile."""
    for pid in pids:
        time.sleep(REST_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(REST_SECONDS)


def witness(library: Library, fault: Fault, way: Way, moments_file: Path) -> Observation:
    """Have the fault happen among forty items, and see what its caller gets to know."""
    function = library.each if way == "each" else library.map
    call = Call(function, Work(range(ITEMS), fault.misdeed, fault.limit_seconds))
    began = time.monotonic()
    thread = call.start()
    if fault.kind == "stopped":
        wait_for_moments(moments_file, 1)
        os.kill(moments(moments_file)[0][0], signal.SIGSTOP)
        began = time.monotonic()
    thread.join(began + PATIENCE_SECONDS - time.monotonic())
    happened = [at for _, at in moments(moments_file)]
    return judge(call, fault, happened[0] if happened else began, hangs=thread.is_alive())


def judge(call: Call, fault: Fault, happened: float, *, hangs: bool) -> Observation:
    """Count what came of a call whose fault happened at that time."""
    bad = {BAD} if fault.misdeed else set()
    good = [x for x in call.work.items if x not in bad]
    ledger = call.ledger
    error, known_at = call.error or next(iter(ledger.errors.values()), None), call.error_at
    if fault.misdeed and BAD in ledger.errors:
        error, known_at = ledger.errors[BAD], ledger.known_at[BAD]
    return Observation(
        right=sum(worker_if_right(ledger, x) is not None for x in good),
        good=len(good),
        error=error,
        seconds=known_at - happened if fault.misdeed and known_at else None,
        hangs=hangs,
    )


def wait_to_be_orphaned(library: Library, fault: Fault, folder: Path) -> None:
    """Keep every worker at what the fault wants, and tell who their parent is."""
    if fault.misdeed:
        Call(library.each, Work([BAD] * WORKERS, fault.misdeed)).start()
        wait_for_moments(Path(os.environ[MOMENTS_FILE]), WORKERS)
    path = folder / PARENT_FILE
    path.with_suffix(".draft").write_text(str(library.parent_pid))
    path.with_suffix(".draft").replace(path)
    threading.Event().wait()


def main(library_name: str, fault_name: str, way: Way, folder: Path) -> None:
    fault = BY_NAME[fault_name]
    library = open_library(library_name)
    library.start()
    before = ask(library, START_SECONDS_MAX)
    assert len(before.pids) == WORKERS, f"the pool did not start: {before.refusal}"
    if fault.kind == "parent":
        wait_to_be_orphaned(library, fault, folder)
    if fault.kind == "idle":
        kill_one_by_one(before.pids)
    seen = witness(library, fault, way, Path(os.environ[MOMENTS_FILE]))
    seen.save(folder / SEEN_FILE)
    after = ask(library, AFTERWARDS_SECONDS_MAX)
    replace(seen, workers=len(after.pids), refusal=after.refusal).save(folder / SEEN_FILE)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], "map" if sys.argv[3] == "map" else "each", Path(sys.argv[4]))
    except BaseException as error:
        sys.stderr.write(f"{told(error)}\n")
        sys.stderr.flush()
    os._exit(0)
