"""`python -m tests.counted`: the service, which counts how often it runs each line of Python, in any of its threads.

From the first SIGUSR1 on; each has it say which line was run most often since the one before.
"""

import signal
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any

_ran: Counter[tuple[str, int]] = Counter()


def look(frame: FrameType, event: str, argument: object) -> Any:
    """Count a line, each time around where it is a loop (docs.python.org/3.11, `sys.settrace`)."""
    if event == "line":
        _ran[frame.f_code.co_filename, frame.f_lineno] += 1
    return look


def tell(*_: object) -> None:
    """Say which, and begin anew."""
    ran = _ran.copy()
    _ran.clear()
    for (path, line), times in ran.most_common(1):
        sys.stderr.write(f"ran {times} times: {path}:{line}\n")
    sys.stderr.write("counting\n")
    sys.stderr.flush()
    sys.settrace(look)


if __name__ == "__main__":
    from app.__main__ import main

    threading.settrace(look)
    signal.signal(signal.SIGUSR1, tell)
    sys.exit(main())
