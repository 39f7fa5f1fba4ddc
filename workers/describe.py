"""Exceptions as plain text.

Invariant: nothing that an exception's class does, raising from `__str__` or lying about itself, gets out of here.
"""

import traceback
from typing import Any

MESSAGE_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 16_000


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


def _traceback(error: BaseException, skip_frames: int) -> str:
    # Not `error.__traceback__`: the class may have its own idea of attributes.
    frames = BaseException.__dict__["__traceback__"].__get__(error)
    for _ in range(skip_frames):
        if frames is not None and frames.tb_next is not None:
            frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


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
