"""Tasks that show what they were made to do: they leave lines in a file, print, wait for each other."""

# ruff: noqa: T201, ASYNC251 -- users' tasks print, and some block their loop

import asyncio
import ctypes
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy.random

from workers import report_progress, task

WAIT_SECONDS_MAX = 20.0
KEPT: list[bytes] = []


def note(path: str, line: str) -> None:
    """Add a line; what several processes add does not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


@task
def nap_noted(x: int, path: str, seconds: float = 0.0, stubborn: bool = False) -> int:
    """Note that it began, then sleep; a stubborn one ends well, whatever it is told."""
    note(path, str(x))
    try:
        time.sleep(seconds)
    except BaseException:
        if not stubborn:
            raise
    return x


@task
def drawn(x: int) -> tuple[int, int]:
    """Two numbers by chance, of generators that were there before any worker was."""
    return random.getrandbits(63), int(numpy.random.randint(1 << 62))


@task
def clean_up(seconds: float) -> None:
    """Sleep, and say how that ended."""
    try:
        time.sleep(seconds)
    except BaseException as error:
        print("ended by", type(error).__name__)
        raise
    finally:
        print("cleaned up")


@task
def deep(seconds: float) -> None:
    def inner_function() -> None:
        time.sleep(seconds)

    inner_function()


@task
def text_of(size: int) -> str:
    return "a" * size


@task
def process_id(x: int) -> int:
    return os.getpid()


@task
def grow(mib: int) -> int:
    """Keep so much memory for as long as the worker lives."""
    KEPT.append(b"\x01" * (mib << 20))
    return os.getpid()


@task
def say(text: str, how: str) -> str:
    """Write the text in one of the ways there are."""
    line = f"{text}\n"
    match how:
        case "print":
            print(text)
        case "stderr":
            sys.stderr.write(line)
        case "write":
            os.write(1, line.encode())
        case "write2":
            os.write(2, line.encode())
        case "logging":
            logging.getLogger("some.library").warning(text)
        case "child":
            subprocess.run(["/bin/echo", text], check=True)
        case "c":
            libc = ctypes.CDLL(None)
            libc.dprintf(1, b"%s", ctypes.c_char_p(line.encode()))
    return text


@task
def say_and_fail(text: str) -> None:
    print(text)
    raise ValueError(text)


@task
def say_and_die(text: str) -> None:
    print(text)
    os.kill(os.getpid(), signal.SIGKILL)


@task
def half_way(path: str) -> str:
    """Tell that half is done, and wait for a file."""
    report_progress(0.5, "half-way")
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not Path(path).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return "done"


@task(backoff=0.4)
def fails_noted(path: str, times: int = 99) -> int:
    """Note when it began, and fail so many times."""
    note(path, f"{time.time()}")
    attempts = len(Path(path).read_text().splitlines())
    if attempts <= times:
        raise RuntimeError(f"attempt {attempts}")
    return attempts


@task(max_attempts=5, backoff=0.0, no_retry_on=[LookupError])
def fails_for_good(kind: str) -> None:
    """Raise what another attempt would not mend, or what it might."""
    raise {"KeyError": KeyError, "ValueError": ValueError}[kind](kind)


# -- Coroutines


@task
async def nap(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


@task
async def nap_announced(seconds: float) -> int:
    report_progress(0.0, "asleep")
    await asyncio.sleep(seconds)
    return os.getpid()


@task
async def nap_politely(seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    except BaseException as error:
        print("ended by", type(error).__name__)
        raise
    finally:
        print("cleaned up")


@task
async def block(seconds: float) -> None:
    """What a coroutine should never do."""
    await asyncio.sleep(0)
    time.sleep(seconds)


@task
async def nap_or_die(seconds: float, how: str = "") -> float:
    """Sleep; then, if told how, take the worker down."""
    await asyncio.sleep(seconds)
    if how == "step":
        os._exit(7)
    if how == "gather":
        await asyncio.gather(_exit_soon(), asyncio.sleep(1))
    if how == "block in a child":
        await asyncio.gather(_block_soon(), asyncio.sleep(1))
    if how == "exit in a child":
        await asyncio.gather(_raise_soon(), asyncio.sleep(1))
    return seconds


async def _exit_soon() -> None:
    await asyncio.sleep(0.01)
    os._exit(8)


async def _block_soon() -> None:
    await asyncio.sleep(0.01)
    time.sleep(60)


async def _raise_soon() -> None:
    await asyncio.sleep(0.01)
    raise SystemExit("in a child")


@task
async def say_in_turns(text: str) -> int:
    """Print something on each of many steps, while others do the same."""
    for _ in range(20):
        print(text)
        await asyncio.sleep(0.001)
    return 20


@task
async def pass_on(text: str) -> int:
    await asyncio.sleep(0.001)
    return len(text)


class Deadly:
    def __init__(self) -> None:
        self.value = 1

    def tolist(self) -> list[int]:
        os._exit(9)


@task
async def deadly_result(x: int) -> object:
    """Give back what takes the worker down when it is encoded."""
    await asyncio.sleep(0.001)
    return Deadly()


class Slow:
    def tolist(self) -> list[int]:
        time.sleep(30)
        return []


@task
def slow_result(x: int) -> object:
    """Give back what takes for ever to be encoded."""
    return Slow()
