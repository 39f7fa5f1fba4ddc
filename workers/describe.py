"""Exceptions as plain text.

Invariant: nothing that an exception's class does, raising from `__str__` or lying about itself, gets out of here.
"""

import traceback
from types import CodeType, TracebackType
from typing import Any

MESSAGE_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 16_000
_KEPT = 256
"""Different tracebacks, of which the next is told without looking up its lines."""


def describe_exception(error: BaseException, *, skip_frames: int) -> dict[str, Any]:
    """`type`, `message` and `traceback` of an exception; the outermost `skip_frames` frames are ours, left out."""
    return {
        "type": _guarded(lambda: type.__dict__["__name__"].__get__(type(error)), "Exception"),
        "message": shortened(
            _guarded(lambda: str(error), "<its message could not be read>"), MESSAGE_CHARS_MAX
        ),
        "traceback": shortened(
            _guarded(lambda: _traceback(error, skip_frames), "<its traceback could not be read>"),
            TRACEBACK_CHARS_MAX,
        ),
    }


class _Frames(traceback.StackSummary):
    """Frames whose text is made once: to look up lines, and mark what failed in them, takes more than all else."""

    def __init__(self, frames: traceback.StackSummary, codes: list[CodeType]) -> None:
        super().__init__(frames)
        self._text = frames.format()
        self._codes = codes  # as long as these are there no others have their ids

    def format(self) -> list[str]:
        return self._text


_frames_at: dict[tuple[int, ...], _Frames] = {}
"""By each one's code, which takes long to compare but by its id, and the place in it."""


def _traceback(error: BaseException, skip_frames: int) -> str:
    outermost = _outermost(error, skip_frames)
    codes: list[CodeType] = []
    places: list[int] = []
    frame = outermost
    while frame is not None:
        codes.append(frame.tb_frame.f_code)
        places += id(codes[-1]), frame.tb_lasti
        frame = frame.tb_next
    frames = _frames_at.get(where := tuple(places))
    told = traceback.TracebackException(type(error), error, None if frames else outermost)
    if frames is None:
        if len(_frames_at) >= _KEPT:
            _frames_at.clear()
        frames = _frames_at[where] = _Frames(told.stack, codes)
    told.stack = frames
    return "".join(told.format())


def _outermost(error: BaseException, skip_frames: int) -> TracebackType | None:
    # Not `error.__traceback__`: the class may have its own idea of attributes.
    frame: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    for _ in range(skip_frames):
        if frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
    return frame


def _guarded(read: Any, otherwise: str) -> str:
    try:
        # Lone surrogates have no form in UTF-8, and an exception may carry any string.
        return str.encode(str.__str__(read()), "utf-8", "replace").decode()
    except BaseException:
        return otherwise


def shortened(text: str, most: int) -> str:
    """Head and tail of a text that is too long: both ends of a traceback tell something."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n… {len(text) - most} characters left out …\n{text[-(most // 2) :]}"
