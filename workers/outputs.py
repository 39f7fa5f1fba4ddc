"""From what a task returns to JSON.

How it works: most outputs are small and never change; they are encoded when their lines are sent, many at a time
(`is_settled`), for the reason given in `workers.calling`.  All others may change or fail, and are encoded at once.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from workers.describe import describe_exception
from workers.files import File
from workers.report import LINE_BYTES_MAX, InvalidOutput, TooLarge
from workers.task import TaskSpec

PLAIN = frozenset({int, bool, str, type(None)})
"""Types whose every value is written the same way whatever the task says it returns; finite floats are, too."""
SETTLED_BITS, SETTLED_CHARS = 63, 256

_N, _I = b"NI"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def is_settled(output: object) -> bool:
    """Whether an output stays what it is, and has a form in JSON that is made without fail."""
    if type(output) is float:
        return math.isfinite(output)
    if type(output) is int:
        return output.bit_length() <= SETTLED_BITS
    if type(output) is str:
        return output.isascii() and len(output) <= SETTLED_CHARS
    return output is None or type(output) is bool


def encoder(spec: TaskSpec, files: list[str]) -> Callable[[object], bytes]:
    """A function from an output to its JSON, which adds ids of the files it names to `files`.

    InvalidOutput if it has no form in JSON, TooLarge if that is over the limit.
    """
    written = spec.output.serializer.to_json

    def foreign(value: Any) -> Any:
        if isinstance(value, File):
            files.append(value.id)
            return value.reference()
        if callable(listed := getattr(value, "tolist", None)):  # numpy's scalars and arrays
            return listed()
        raise TypeError(f"{type(value).__name__} has no form in JSON")

    def encode(value: object) -> bytes:
        if type(value) in PLAIN or (type(value) is float and math.isfinite(value)):
            try:
                text = _encode(value)
            except UnicodeEncodeError as error:
                raise InvalidOutput(str(error)) from None
        elif type(value) is File:
            text = _encode(foreign(value))
        else:
            try:
                text = written(value, warnings=False, fallback=foreign)
            except Exception as error:
                # pydantic's own classes change between releases, and a value's own methods may raise anything.
                raise InvalidOutput(describe_exception(error, skip_frames=0)["message"]) from None
            # One byte is found at once, which most texts do not have; a word takes longer than to write a small text.
            if (_N in text and b"NaN" in text) or (_I in text and b"Infinity" in text):
                _check(text)
        if len(text) > LINE_BYTES_MAX:
            raise TooLarge(f"{len(text)} bytes; a result may have {LINE_BYTES_MAX}")
        return text

    return encode


def _check(text: bytes) -> None:
    """It may be a string that speaks of NaN."""
    try:
        _decode(text)
    except msgspec.DecodeError:
        raise InvalidOutput("NaN and infinity have no form in JSON; return null instead") from None
