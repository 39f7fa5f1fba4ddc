"""Which of many lines are meant: a byte for each, 1 if it is, 0 if not.

A million lines are handled without a step of Python for each: every operation works on thousands at once.
"""

import re
from collections.abc import Iterator
from itertools import compress, islice
from operator import itemgetter

from app.domain.groups import group_of_line
from app.domain.item import ERROR, FAILURE, HEAD_BYTES, Outcome, cut, is_failure, number_of_lines

MEANT, OTHER = b"\1", b"\0"
FEW = 64
"""Failures are few if at most one of so many lines is one: to look for these costs less than to look at each line."""
_INVERTED = bytes.maketrans(MEANT + OTHER, OTHER + MEANT)
_RUN = re.compile(MEANT + b"+")
_INDEX = len(b'{"index":')
_LETTER = len(b',"')
"""So far behind the index a letter tells whether a key, an error or an output comes."""
_FAILED = bytes(letter == ord("e") for letter in range(256))


def ended(results: bytes, outcome: Outcome) -> bytes:
    """Which of these result lines, of contiguous indexes, tell that their item ended so."""
    failed = _few_failed(results)
    if failed is None:
        failed = _failed(results.split(b"\n")[:-1])
    return failed if outcome == "failed" else failed.translate(_INVERTED)


def _few_failed(results: bytes) -> bytes | None:
    """Which are failures; None if more than few may be.  What stands between two is counted, and not looked at."""
    flags = bytearray(results.count(b"\n"))
    number = start = 0
    for _ in range(len(flags) // FEW + 1):
        found = results.find(ERROR, start)
        if found < 0:
            return bytes(flags)
        begin = results.rfind(b"\n", start, found) + 1 or start
        number += results.count(b"\n", start, begin)
        start = results.index(b"\n", found) + 1
        flags[number] = is_failure(results[begin : start - 1])
        number += 1
    return None


def _failed(lines: list[bytes]) -> bytes:
    letters = b""
    index = int(lines[0][_INDEX : lines[0].index(b",")]) if lines else 0
    while len(letters) < len(lines):
        start = len(letters)
        digits = len(str(index + start))
        alike = lines[start : 10**digits - index]
        letters += bytes(map(itemgetter(_INDEX + digits + _LETTER), alike))
    if b"k" not in letters:
        return letters.translate(_FAILED)
    if len(max(lines, key=len)) > HEAD_BYTES:
        return bytes(map(is_failure, lines))
    return bytes(map(bool, map(FAILURE.match, lines)))


def in_group(results: bytes, group: str) -> bytes:
    """Which of these result lines are failures of this group."""
    lines = results.split(b"\n")[:-1]
    return bytes(
        failed and group_of_line(line).id == group for line, failed in zip(lines, _failed(lines), strict=True)
    )


def meant(lines: bytes, flags: bytes) -> bytes:
    """Those of the lines that are meant."""
    return b"\n".join([*compress(lines.split(b"\n"), flags), b""])


def runs(flags: bytes) -> Iterator[tuple[int, int]]:
    """The ranges (first, stop) of those that are meant."""
    return (run.span() for run in _RUN.finditer(flags))


def take(results: bytes, outcome: Outcome | None, skip: int, most: int) -> tuple[bytes, int]:
    """The result lines of an outcome, without the first `skip` and at most `most` of them, and their number."""
    if outcome is None:
        start = cut(results, 0, skip)
        end = cut(results, start, most)
        return results[start:end], number_of_lines(results, start, end)
    chosen = compress(results.split(b"\n"), ended(results, outcome))
    taken = list(islice(chosen, skip, skip + most))
    return b"\n".join([*taken, b""]), len(taken)
