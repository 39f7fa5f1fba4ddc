"""Messages between the pool and its zygote: JSON datagrams (`SOCK_SEQPACKET`), some with file descriptors.

To the zygote: first its settings (`launcher.ZygoteSettings`) with the memory that workers share with the pool, then
`{"fork": id}` with the worker's socket and recorder.  From it: `{"ready": true}` or
`{"failed": traceback}`, `{"forked": id, "pid": n}` with a pidfd, and at a worker's end `{"ended": id, "pid": n,
"status": n, "max_rss_bytes": n, "cpu_seconds": x, "stopped_by": n or null}`, where a negative status is a signal's
number.
"""

import array
import json
import socket
from typing import Any

MESSAGE_BYTES_MAX = 64 << 10


def send(control: socket.socket, message: dict[str, Any], *fds: int) -> None:
    """Send one control message."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    control.sendmsg([json.dumps(message).encode()], ancillary)


def receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One control message and the descriptors with it; None at the end."""
    try:
        data, ancillary, _, _ = control.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(8))
    except ConnectionResetError:
        return None
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return (json.loads(data), list(fds)) if data else None
