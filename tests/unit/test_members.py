"""Items that are decoded right into arguments mean what they would mean one by one."""

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from workers import task
from workers.calling import binder, decoded
from workers.members import form_of
from workers.task import TaskSpec


@task
def scaled(x: int, by: float = 1.0, unit: str | None = None) -> Any:
    return "scaled", x, by, unit


@task
def paired(_left: Any, right: bool, default: Any = True) -> Any:
    return "paired", _left, right, default


@task
def by_name(item: int = 0, *, task: int, value_0: int = 1) -> Any:
    return "by_name", item, task, value_0


@task
def bounded(x: Annotated[int, Field(ge=0)], y: int) -> Any:
    return x, y


@task
def listing(x: list[int], y: int) -> Any:
    return x, y


@task
def keeping(x: int, seen: Any = []) -> Any:  # noqa: B006  # what is under test
    return x, seen


@task
def whole(value: Any) -> Any:
    return value


@task
def nothing() -> None: ...


SPECS = {
    f.__name__: TaskSpec.of(f) for f in (scaled, paired, by_name, bounded, listing, keeping, whole, nothing)
}


def _called(name: str, params: dict[str, Any], line: bytes) -> Any:
    """What the task returns for an item that is decoded into arguments; None if it is not."""
    form = form_of(SPECS[name], params, line[0])
    items = form and decoded(line, 1, form.kind)
    return form.function(items[0]) if form and items else None


@pytest.mark.parametrize(
    ("name", "params", "line", "result"),
    [
        ("scaled", {}, b'{"x":2}', ("scaled", 2, 1.0, None)),
        ("scaled", {}, b'{"unit":"m","x":2,"by":3}', ("scaled", 2, 3.0, "m")),
        ("scaled", {}, b'{"x":2,"unit":null}', ("scaled", 2, 1.0, None)),
        ("scaled", {"by": 2}, b'{"x":2}', ("scaled", 2, 2.0, None)),  # its place is in the middle
        ("scaled", {"by": 2, "unit": "m"}, b'{"x":2}', ("scaled", 2, 2.0, "m")),
        ("scaled", {"x": 5}, b'{"by":0.5}', ("scaled", 5, 0.5, None)),
        ("paired", {}, b'{"_left":[1],"right":false}', ("paired", [1], False, True)),
        ("paired", {}, b'[{"a":1},true]', ("paired", {"a": 1}, True, True)),
        ("paired", {}, b"[null,true,null]", ("paired", None, True, None)),
        ("paired", {"default": 0}, b"[1,true]", ("paired", 1, True, 0)),
        ("paired", {"_left": 0}, b'{"right":true}', ("paired", 0, True, True)),
        ("by_name", {}, b'{"task":4,"item":3}', ("by_name", 3, 4, 1)),
        ("by_name", {"item": 2}, b'{"task":4}', ("by_name", 2, 4, 1)),
    ],
)
def test_arguments_are_taken_from_the_line(
    name: str, params: dict[str, Any], line: bytes, result: object
) -> None:
    assert repr(_called(name, params, line)) == repr(result)
    """Whatever is left out has its default, and whatever the place of what `params` say."""


@pytest.mark.parametrize(
    ("name", "params", "line"),
    [
        ("scaled", {}, b"2"),
        ("scaled", {}, b"[2,3]"),  # one is required: the array is its value
        ("scaled", {}, b'{"x":2,"y":3}'),
        ("scaled", {}, b'{"by":2}'),
        ("scaled", {}, b'{"x":"2"}'),
        ("scaled", {}, b'{"x":true}'),
        ("scaled", {"by": "2"}, b'{"x":2}'),
        ("scaled", {"by": 2}, b'{"x":2,"by":3}'),
        ("scaled", {"z": 2}, b'{"x":2}'),
        ("scaled", {"x": 1, "by": 2, "unit": None}, b"{}"),
        ("paired", {}, b"[1]"),
        ("paired", {}, b"[1,true,2,3]"),
        ("paired", {"right": True}, b"[1,true]"),
        ("bounded", {}, b'{"x":1,"y":2}'),
        ("listing", {}, b'{"x":[1],"y":2}'),
        ("keeping", {}, b'{"x":1}'),
        ("whole", {}, b'{"value":1}'),
        ("nothing", {}, b"{}"),
    ],
)
def test_what_might_mean_something_else_is_left(name: str, params: dict[str, Any], line: bytes) -> None:
    """To be converted, refused, or shared as ever, one by one."""
    assert _called(name, params, line) is None


_scalars: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2**70, 1.0, -0.0, 2.5, "", "1", "m", [1], {"a": {}}]
)
_members = st.sampled_from(["x", "by", "unit", "_left", "right", "default", "item", "task", "value_0", "y"])


@settings(max_examples=300)
@given(
    name=st.sampled_from(sorted(SPECS)),
    params=st.dictionaries(_members, _scalars, max_size=2),
    item=st.dictionaries(_members, _scalars, max_size=3) | st.lists(_scalars, max_size=4),
)
def test_what_is_decoded_is_what_is_bound(name: str, params: dict[str, Any], item: Any) -> None:
    """To the last type, so that `1`, `1.0` and `true` stay apart."""
    spec = SPECS[name]
    result = _called(name, params, msgspec.json.encode(item))
    if result is not None:
        assert repr(result) == repr(spec.function(**binder(spec, params)(item)))


def test_what_was_kept_for_one_task_is_not_another_s() -> None:
    """Defaults that are equal may yet differ."""

    @task
    def first(x: int, y: Any = 1) -> Any:
        return x, y

    @task
    def second(x: int, y: Any = True) -> Any:
        return x, y

    forms = [form_of(TaskSpec.of(function), {}, b"{"[0]) for function in (first, second)]
    results = [form.function(msgspec.json.decode(b'{"x":0}', type=form.kind)) for form in forms if form]

    assert repr(results) == "[(0, 1), (0, True)]"
