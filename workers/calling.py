"""From an item's line to the call of its task, and from what that returns to JSON.

How it works: with a task that runs for milliseconds, what is done between two items finds neither its code nor its
data in the processor's caches, and takes ten times as long as it would right after itself.  So as much as may be is
done for many items together: before the first of them (`decoded_ahead`), or when their lines are sent (`is_settled`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import ValidationError

from workers.describe import describe_exception
from workers.files import File
from workers.light import PLAIN, decoded, valid
from workers.report import (
    DECODE_ERRORS,
    LINE_BYTES_MAX,
    InvalidInput,
    InvalidOutput,
    Line,
    TooLarge,
    Work,
)
from workers.task import TaskSpec

AHEAD_BYTES_MAX = 64 << 10
"""Of more items the values would all be in memory at once, and what is done between them matters less."""
SETTLED_BITS, SETTLED_CHARS = 63, 256

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Calls:
    """What runs, one after the other."""

    function: Callable[[Any], Any]
    arguments: Sequence[Any]
    """The items' lines, or their values; values only of items whose keys nobody wants."""
    our_frames: int
    """How many frames of ours `function` has above the task's own."""


def decoded_ahead(work: Work) -> Calls | None:
    """The calls for a chunk whose items can all be decoded and validated before the first runs.

    None if it has to be done one by one: if it would run code of the task's, or one of them is not what it takes.
    """
    body, count, spec = work.frame.body, work.frame.count, work.spec
    if spec.many is None or not work.plain or count == 1 or len(body) > AHEAD_BYTES_MAX:
        return None
    values = decoded(body, count, spec.exact) if spec.exact else None
    if values is None and (items := decoded(body, count)) is not None:
        values = valid(spec.many, items)
    return None if values is None else Calls(spec.function, values, our_frames=0)


def one_by_one(work: Work, lines: Sequence[Line]) -> Calls:
    """The calls for lines that are decoded when their turn comes."""
    return Calls(caller(work.spec, work.order.params), lines, our_frames=1)


def is_settled(output: object) -> bool:
    """Whether an output stays what it is, and has a form in JSON that is made without fail."""
    if type(output) is float:
        return math.isfinite(output)
    if type(output) is int:
        return output.bit_length() <= SETTLED_BITS
    if type(output) is str:
        return output.isascii() and len(output) <= SETTLED_CHARS
    return output is None or type(output) is bool


def bind(spec: TaskSpec, params: Mapping[str, Any], item: object) -> dict[str, Any]:
    """The keyword arguments that an item means.  InvalidInput, naming the parameter, if it means none.

    One parameter that admits objects: the item is its value.  Else an object is keyword arguments, an array
    positional ones if the task requires two or more, and anything else the first parameter's value.
    """
    names = list(spec.parameters)
    if spec.takes_whole_item:
        given: dict[str, Any] = {names[0]: item}
    elif isinstance(item, dict):
        given = item
    elif not names:
        if item is not None:
            raise InvalidInput("this task takes no input: send null or {}")
        given = {}
    elif isinstance(item, list) and len(spec.required) >= 2:
        if len(item) > len(names):
            raise InvalidInput(f"{len(item)} arguments, but the task takes {len(names)}: {', '.join(names)}")
        given = dict(zip(names, item, strict=False))
    else:
        given = {names[0]: item}
    return validated(spec, {**params, **given})


def validated(spec: TaskSpec, values: dict[str, Any]) -> dict[str, Any]:
    """The values as the task's types.  InvalidInput if they cannot be."""
    try:
        return spec.arguments.validator.validate_python(values)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise InvalidInput(_told(error)) from None


def checked(output: bytes) -> bytes:
    """The output, unless it is over the limit."""
    if len(output) > LINE_BYTES_MAX:
        raise TooLarge(f"{len(output)} bytes; a result may have {LINE_BYTES_MAX}")
    return output


def _told(error: ValidationError, *place: str) -> str:
    """What is wrong, and where: `width: Input should be …`."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, (*place, *fault['loc'])))}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in faults[:5]
    )


def caller(spec: TaskSpec, params: dict[str, Any]) -> Callable[[Line], Any]:
    """A function from an item's line to the task's output."""
    function = spec.function
    # Most tasks take one thing: then the item is validated as that, without the detour over named arguments.
    first = spec.first.validator.validate_python if spec.first is not None and not params else None
    whole = spec.takes_whole_item

    def call(line: Line) -> Any:
        try:
            item = _decode(line)
        except DECODE_ERRORS as error:
            raise InvalidInput(f"not JSON: {error}") from None
        if first is None or (not whole and type(item) is dict):
            return function(**bind(spec, params, item))
        try:
            value = first(item)
        except ValidationError as error:
            raise InvalidInput(_told(error, next(iter(spec.parameters)))) from None
        return function(value)

    return call


def encode(spec: TaskSpec, files: list[str], value: object) -> bytes:
    """The output as JSON; ids of the files it names are added to `files`.  InvalidOutput if it has no form."""
    if type(value) in PLAIN or (type(value) is float and math.isfinite(value)):
        try:
            return _encode(value)
        except UnicodeEncodeError as error:
            raise InvalidOutput(str(error)) from None

    def foreign(value: Any) -> Any:
        if isinstance(value, File):
            files.append(value.id)
            return value.reference()
        if callable(listed := getattr(value, "tolist", None)):  # numpy's scalars and arrays
            return listed()
        raise TypeError(f"a {type(value).__name__} has no form in JSON")

    if type(value) is File:
        return _encode(foreign(value))
    try:
        text = spec.output.dump_json(value, warnings=False, fallback=foreign)
    except Exception as error:
        # pydantic's own classes change between releases, and a value's own methods may raise anything.
        raise InvalidOutput(describe_exception(error, skip_frames=0)["message"]) from None
    if b"NaN" in text or b"Infinity" in text:
        try:
            _decode(text)
        except msgspec.DecodeError:
            raise InvalidOutput("NaN and infinity have no form in JSON; return null instead") from None
    return text
