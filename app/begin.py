"""The process that will load the tasks, begun before anything else: half of a start is what it takes to be ready.

Invariant: only what Python brings is imported here; the process loads no task before it is told which
(`workers.launcher`), and ends with our end of its control socket.
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
