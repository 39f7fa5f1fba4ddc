"""Why a text is not JSON, in words that its sender can use."""

import re

_LOOKED_AT_BYTES = 1 << 20
_LONE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""A half of a surrogate pair (RFC 8259, section 7) without the other half after it."""


def why(error: Exception, text: bytes) -> str:
    """What is wrong with a text that the parser refuses with this error.

    Of a string that ends after half a character the parser says that its input was truncated, which it was not.
    """
    told = str(error)
    if "surrogate" in told or ("truncated" in told and _LONE.search(text, 0, _LOOKED_AT_BYTES)):
        return "a string has a lone surrogate, \\ud800 to \\udfff without its other half, so it is not Unicode text"
    return told
