"""From items' lines to the calls of their task.

How it works: after a task that runs for milliseconds, neither code nor data of what is done between two items is in the
processor's caches any more, so that takes ten times as long as it would right after itself.  So as much as possible is
done for many items together, before the first of them runs (`calls_of`); the rest when an item's turn comes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET
from pydantic import ValidationError

from workers.members import Form, form_of, keyed
from workers.report import (
    DECODE_ERRORS,
    InvalidInput,
    Key,
    Line,
    Work,
    as_key,
    key_of,
    key_of_line,
)
from workers.task import TaskSpec

AHEAD_BYTES_MAX = 64 << 10
"""Of more items the values would all be in memory at once, and what is done between them matters less."""
_KINDS_KEPT = 64
"""Decoders that are kept for the next chunk."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Calls:
    """What runs, one after the other."""

    function: Callable[[Any], Any]
    arguments: Sequence[Any]
    """The items' lines, or what they mean."""
    our_frames: int
    """How many frames of ours `function` has above the task's own."""
    key: Callable[[int], Key] = lambda _: UNSET
    """What the item of this argument is known by; asked for once that has run, and may have changed the argument."""


@lru_cache(_KINDS_KEPT)
def _lines_decoder(kind: Any) -> Callable[[bytes | bytearray], list[Any]]:
    return msgspec.json.Decoder(kind).decode_lines


def decoded(lines: bytes | bytearray, count: int, kind: Any = Any) -> list[Any] | None:
    """The items of `count` lines; None if one of them is not JSON, or not of this type."""
    try:
        items = _lines_decoder(kind)(lines)
    except DECODE_ERRORS:
        return None
    # An item may span lines, and blank ones are passed over: only if neither occurs are there as many.
    return items if len(items) == count else None


def calls_of(work: Work) -> Callable[[slice], Calls | None] | None:
    """A function that makes the calls of a part of the chunk's items, before the first of these runs.

    It returns None for a part with an item that is not what the task takes.  There is no such function if all items
    have to be decoded one by one: if validating them would run the task's own code, or one is not JSON.
    """
    spec, order, frame = work.spec, work.order, work.frame
    many = None if order.params else spec.many
    if order.attempt > 1 or not (many or spec.plain):
        return None
    if many and spec.exact and (exact := decoded(frame.body, frame.count, spec.exact)) is not None:
        return lambda part: Calls(spec.function, exact[part], our_frames=0)
    if (form := form_of(spec, order.params, frame.body[0])) and (named := _named(form, work)):
        return named
    if (items := decoded(frame.body, frame.count)) is None:
        return None
    bind = binder(spec, order.params)

    def calls(part: slice) -> Calls | None:
        some = items[part]
        keys = [] if order.key_field is None else [key_of(item, order.key_field) for item in some]
        known = {"key": keys.__getitem__} if keys else {}
        try:
            if many and (spec.takes_whole_item or type(some[0]) is not dict):
                return Calls(spec.function, many.validator.validate_python(some), 0, **known)
            if not spec.plain:
                return None
            return Calls(_by_name(spec.function), list(map(bind, some)), 1, **known)
        except (ValidationError, InvalidInput):
            return None

    return calls


def _named(form: Form, work: Work) -> Callable[[slice], Calls] | None:
    """The same, of items that are all of this form; None if one is not."""
    frame, field = work.frame, work.order.key_field
    arguments = decoded(frame.body, frame.count, form.kind)
    if arguments is None:
        return None
    if field is None or (known := decoded(frame.body, frame.count, keyed(field))) is None:
        return lambda part: Calls(form.function, arguments[part], our_frames=1)
    keys = [as_key(item.key) for item in known]
    return lambda part: Calls(form.function, arguments[part], our_frames=1, key=keys[part].__getitem__)


def _by_name(function: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda arguments: function(**arguments)


def one_by_one(work: Work, lines: Sequence[Line]) -> Calls:
    """The calls for lines that are decoded when their turn comes."""
    field = work.order.key_field
    function = caller(work.spec, work.order.params)
    return Calls(function, lines, our_frames=1, key=lambda at: key_of_line(lines[at], field))


def binder(spec: TaskSpec, params: Mapping[str, Any]) -> Callable[[object], dict[str, Any]]:
    """A function from an item to the keyword arguments it means.  InvalidInput, naming the parameter, if it means none.

    One parameter that admits objects: the item is its value.  Else an object is keyword arguments, an array
    positional ones if the task requires two or more, and anything else the first parameter's value.
    """
    names, whole, positional = tuple(spec.parameters), spec.takes_whole_item, len(spec.required) >= 2
    validate = spec.arguments.validator.validate_python

    def given(item: object) -> dict[str, Any]:
        if whole:
            return {names[0]: item}
        if not names:
            if item is not None:
                raise InvalidInput("this task takes no input: send null or {}")
            return {}
        if positional and isinstance(item, list):
            if len(item) > len(names):
                raise InvalidInput(
                    f"{len(item)} arguments, but the task takes {len(names)}: {', '.join(names)}"
                )
            return dict(zip(names, item, strict=False))
        return {names[0]: item}

    def bind(item: object) -> dict[str, Any]:
        named = item if type(item) is dict and not whole else given(item)
        try:
            return validate({**params, **named} if params else named)  # type: ignore[no-any-return]
        except ValidationError as error:
            raise InvalidInput(_told(error)) from None

    return bind


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
    whole, bind = spec.takes_whole_item, binder(spec, params)

    def call(line: Line) -> Any:
        try:
            item = _decode(line)
        except DECODE_ERRORS as error:
            raise InvalidInput(f"not JSON: {error}") from None
        if first is None or (not whole and type(item) is dict):
            return function(**bind(item))
        try:
            value = first(item)
        except ValidationError as error:
            raise InvalidInput(_told(error, next(iter(spec.parameters)))) from None
        return function(value)

    return call
