"""Items that are objects, or arrays of arguments, decoded straight into the arguments of a call.

How it works: the parameters that an item may name become a type, whose members the decoder fills without a dict; the
others are the job's `params`, the same for all.  This is done only where validation would not change what JSON says:
for parameters that are numbers, texts, booleans or null, or may be anything.

Invariant: the arguments are those that `calling.binder` makes of the item; an item that it refuses is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from inspect import Parameter
from types import CodeType
from typing import Any, NamedTuple

import msgspec

from workers.task import TaskSpec

_KINDS: Mapping[str, Any] = {"any": Any, "int": int, "float": float, "str": str, "bool": bool}
"""What JSON is taken as that without further ado, by its name in pydantic's schemas."""
_SETTLED = (int, float, str, bool, type(None))
"""A default of these types may be given as well as left out: it is nobody's to change."""
_OBJECT, _ARRAY = b"{["
_KEPT = 64
"""Types that are kept for the next chunk."""

_Member = tuple[str, Any, type, Any]
"""Name, kind, and the default after its type: `1`, `1.0` and `True` are equal."""


class Form(NamedTuple):
    """What items are decoded as, and what runs with each."""

    kind: type[msgspec.Struct]
    function: Callable[[Any], Any]


class _NoForm(Exception):
    """Whatever the reason."""


def form_of(spec: TaskSpec, params: Mapping[str, Any], begin: int) -> Form | None:
    """The form of items whose lines begin with this byte; None if they have to be bound one by one."""
    try:
        return _form_of(spec, params, begin)
    except (_NoForm, msgspec.ValidationError):
        return None


def _form_of(spec: TaskSpec, params: Mapping[str, Any], begin: int) -> Form:
    names = tuple(spec.parameters)
    given = tuple(name for name in names if name not in params)
    as_array = begin == _ARRAY and len(spec.required) >= 2 and given == names[: len(given)]
    if spec.takes_whole_item or not given or not (as_array or begin == _OBJECT):
        raise _NoForm
    schema: Mapping[str, Any] = spec.arguments.core_schema
    kinds = {name: _kind(schema["fields"][name]["schema"]) for name in names}
    fixed = {name: msgspec.convert(params[name], kinds[name]) for name in names if name in params}
    if len(fixed) < len(params):
        raise _NoForm
    kind = _struct(tuple(_member(spec.parameters[name], kinds[name]) for name in given), as_array)
    values = {f"value_{at}": value for at, value in enumerate(fixed.values())}
    return Form(kind, eval(_call(given, tuple(fixed)), {"task": spec.function, **values}))


@lru_cache(_KEPT)
def _call(given: Iterable[str], fixed: Iterable[str]) -> CodeType:
    """Of a function that calls `task` by name with an item: neither a dict is made for it nor a tuple."""
    arguments = [f"{name}=item.member_{at}" for at, name in enumerate(given)]
    arguments += [f"{name}=value_{at}" for at, name in enumerate(fixed)]
    return compile(f"lambda item: task({', '.join(arguments)})", __file__, "eval")


def _kind(schema: Mapping[str, Any]) -> Any:
    name = schema["type"]
    if name == "nullable" and schema.keys() == {"type", "schema"}:
        return _kind(schema["schema"]) | None
    if name not in _KINDS or len(schema) > 1:
        raise _NoForm
    return _KINDS[name]


def _member(parameter: Parameter, kind: Any) -> _Member:
    default = parameter.default
    if default is not Parameter.empty and not isinstance(default, _SETTLED):
        raise _NoForm
    return parameter.name, kind, type(default), default


@lru_cache(_KEPT)
def _struct(members: tuple[_Member, ...], as_array: bool) -> type[msgspec.Struct]:
    """A type with these members, in this order, whatever they are called."""
    names = {f"member_{at}": name for at, (name, *_) in enumerate(members)}
    fields = [
        (name, kind) if default is Parameter.empty else (name, kind, default)
        for name, (_, kind, _, default) in zip(names, members, strict=True)
    ]
    return msgspec.defstruct(
        *("Arguments", fields),
        rename=names,
        array_like=as_array,
        forbid_unknown_fields=True,
        kw_only=True,  # what is required may come after what is not, as in a signature
        gc=False,
    )


@lru_cache(_KEPT)
def keyed(field: str) -> type[msgspec.Struct]:
    """A type that decodes this one member of an object, if it is there, as `key`."""
    return msgspec.defstruct("Keyed", [("key", Any, msgspec.UNSET)], rename={"key": field}, gc=False)
