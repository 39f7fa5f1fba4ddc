"""Begins the process that will load the tasks, before anything else: getting it ready takes half of a start.

Invariant: only what Python itself brings is imported here; the process loads no task before it is told which
(`workers.launcher`), and ends when our end of its control socket does.
"""

import socket
import subprocess
import sys


def begin() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and the socket by which it is to be told; both are the caller's to end."""
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.zygote", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, control
