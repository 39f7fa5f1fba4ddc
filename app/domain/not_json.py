"""Why a text is not JSON, in words that its sender can use."""

import re

CUT = "it ends before it is complete; texts stand in double quotes"
_LOOKED_AT_BYTES = 1 << 20
_LONE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""A half of a surrogate pair (RFC 8259, section 7) without the other half after it."""


def why(error: Exception, text: bytes) -> str:
    """What is wrong with a text that the parser refuses with this error.

    That its input was truncated the parser says of whatever ends too early: of nothing at all, of `four`, which might
    have become `false`, and of a string with half a character, which ends nothing.
    """
    told = str(error)
    if "surrogate" in told or ("truncated" in told and _LONE.search(text, 0, _LOOKED_AT_BYTES)):
        return "a string has a lone surrogate, \\ud800 to \\udfff without its other half, so it is not Unicode text"
    if "truncated" in told:
        return CUT if text.strip() else "it is empty"
    return told
