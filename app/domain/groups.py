"""Which failures have the same cause.

A failure's fingerprint is its kind and type, its message without what differs from item to item, and the place in
the task's own code that it came from: the innermost frame that is not a library's, by file name, function and the
text of its line, so that neither another installation nor a line added above it makes a new group.

How it works: applying the rule takes 0.1 ms, and most of a hundred thousand failures differ in numbers only.  So its
outcome is cached under all that it looks at, with the digits of a message all taken for the same.

Invariant: the rule never changes.  Group ids stand in addresses, in stored digests and in callers' scripts; the
examples in tests/unit/test_groups.py are frozen.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

ID_CHARS = 12
TYPE_CHARS_MAX = 100
MESSAGE_CHARS_MAX = 200
SOURCE_CHARS_MAX = 200
KEPT = 256
"""Groups, by what they were found in."""

_MASKS = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\s+", " "),
        (r"(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)", "'…'"),
        (r'(?<!\w)"(?:[^"\\]|\\.)*"(?!\w)', '"…"'),
        (r"(?<!\w)`[^`]*`(?!\w)", "`…`"),
        (r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s,;)\]}>]+", "<url>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"(?<![\w<.~/])(?:~|\.{1,2})?(?:/[^\s/,:;()\[\]{}<>]+)+/?", "<path>"),
        (r"\b0[xX][0-9a-fA-F]+\b", "<hex>"),
        (r"\b(?:sha\d+-)?(?=[a-fA-F]*[0-9])(?=[0-9]*[a-fA-F])[0-9a-fA-F]{8,}\b", "<hex>"),
        (r"(?:(?<![\w.])[-+])?\d+(?:\.\d+)*(?:[eE][-+]?\d+)?", "<n>"),
    )
)
"""What differs from item to item, in the order in which it is looked for.

To all of these one digit is like another, but for the first one of `0x`.
"""
_ZERO_TELLS = re.compile("0[xX]")
_OTHER_DIGITS = str.maketrans("23456789", "1" * 8)
_DIGITS = str.maketrans("023456789", "1" * 9)

_FRAME = re.compile(
    r'File "(?P<path>[^"\n]+)", line (?P<line>\d+),? in (?P<function>[^\n]+)'
    r'(?:\n[ |]+(?!File ")(?P<source>[^\s|][^\n]*))?'
)
"""A frame as `traceback` and `faulthandler` write it; the latter without the line's text."""
_LIBRARY = re.compile(r"^<|/(?:site|dist)-packages/|/lib(?:64)?/python\d|/python\d+\.zip/|/workers/\w+\.py$")
"""Code that is not the task's: installed packages, the standard library, generated code, and ours around tasks."""
_INNERMOST_FIRST = "most recent call first"
_WHERE_IT_STOOD_IS_CHANCE = frozenset({"timeout"})


class Group(msgspec.Struct, frozen=True, gc=False):
    """Failures that are the same trouble, as one of them tells it."""

    id: str
    kind: str
    type: str
    message: str
    """Masked."""
    place: str | None
    """`file.py:12 in function`; None if the failure has no frame, or its frame says nothing."""


class _Line(msgspec.Struct):
    error: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Line).decode


def group_of_line(line: bytes) -> Group:
    """The group of a failure, from its result line."""
    return group_of(_decode(line).error)


def group_of(error: Mapping[str, Any]) -> Group:
    """The group of a failure, from the `error` of its result line."""
    kind, type_ = str(error.get("kind", "")), str(error.get("type", ""))[:TYPE_CHARS_MAX]
    message, traceback = str(error.get("message", "")), error.get("traceback")
    if not isinstance(traceback, str) or kind in _WHERE_IT_STOOD_IS_CHANCE:
        traceback = None
    elif message and (told := traceback.rfind(message)) >= 0:  # it may look like a frame
        traceback = traceback[:told]
    end = str(error.get("signal", error.get("exit_code", "")))
    return _group_of(kind, type_, _alike(message), traceback, end)


def _alike(message: str) -> str:
    """The same for all messages that differ in digits only; masked, it is what each of them is."""
    return message.translate(_OTHER_DIGITS if _ZERO_TELLS.search(message) else _DIGITS)


@lru_cache(KEPT)
def _group_of(kind: str, type_: str, message: str, traceback: str | None, end: str) -> Group:
    masked = mask(message)
    frame = None if traceback is None else _own_frame(traceback)
    place = told = None
    if frame is not None:
        file, function = frame["path"].rpartition("/")[2], frame["function"].strip()
        told = f"{file}:{frame['line']} in {function}"
        place = f"{file} in {function}: {(frame['source'] or frame['line'])[:SOURCE_CHARS_MAX].strip()}"
    text = "\x1f".join((kind, type_, masked, place or "", end))
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return Group(digest[:ID_CHARS], kind, type_, masked, told)


def mask(message: str) -> str:
    """A message without numbers, quoted texts, paths and the like, on one line, shortened."""
    for pattern, instead in _MASKS:
        message = pattern.sub(instead, message)
    message = message.strip()
    return message if len(message) <= MESSAGE_CHARS_MAX else f"{message[: MESSAGE_CHARS_MAX - 1]}…"


def _own_frame(traceback: str) -> re.Match[str] | None:
    """The innermost frame of the task's own code, or the innermost of all."""
    frames = list(_FRAME.finditer(traceback))
    if _INNERMOST_FIRST not in traceback:
        frames.reverse()
    return _first(frame for frame in frames if not _LIBRARY.search(frame["path"])) or _first(frames)


def _first(frames: Iterable[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(frames), None)
