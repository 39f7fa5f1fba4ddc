"""The process around a probe: `python -m bench.peers.warden NAME CASE SCALE FOLDER`.

It is a child subreaper, as that of `bench.faults` is, and ends every process below itself before it returns.

Invariant: when it returns, nothing that the library started runs any more.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.faults.warden import PR_SET_CHILD_SUBREAPER, end_all
from bench.peers.catalogue import BY_NAME
from bench.peers.environment import python_of
from bench.peers.library import LONG, REDIS
from bench.peers.redis import redis
from bench.server import ROOT

PROBE_SECONDS_MAX = 420.0
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray listens on the address of the machine otherwise, also where it is told of no other."""
LONG_CASES = frozenset({"long", "kill", "unpicklable", "hang", "restart"})


def main(name: str, case: str, scale: str, folder: Path) -> int:
    """The probe's exit status."""
    peer = BY_NAME[name]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)} | LOOPBACK_ONLY
    if case in LONG_CASES:
        environment[LONG] = "1"
    with ExitStack() as stack:
        stack.callback(end_all)
        if peer.redis:
            environment[REDIS] = stack.enter_context(redis(folder))
        command = [str(python_of(peer)), "-m", "bench.peers.probe", name, peer.adapter, case, scale]
        try:
            done = subprocess.run(
                [*command, str(folder)], cwd=ROOT, env=environment, timeout=PROBE_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"{name} {case}: not done after {PROBE_SECONDS_MAX:.0f} s\n")
            return 1
        return done.returncode


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _, name_, case_, scale_, folder_ = sys.argv
    sys.exit(main(name_, case_, scale_, Path(folder_)))
