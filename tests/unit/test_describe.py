"""A failure is told as Python tells it."""

import traceback
import weakref
from collections.abc import Callable
from functools import partial

import pytest

from workers.describe import describe_exception


def _fail(what: object) -> object:
    raise ValueError(what)


def _two_on_a_line(first: bool) -> None:
    (_fail("the first") if first else None, _fail("the second"))


def _from_another() -> None:
    try:
        _fail(1)
    except ValueError as error:
        raise KeyError("two") from error


def _after_another() -> None:
    try:
        _fail(1)
    except ValueError:
        _fail(2)


def _in_spite_of_another() -> None:
    try:
        _fail(1)
    except ValueError:
        raise KeyError("two") from None


def _noted() -> None:
    error = ValueError("noted")
    error.add_note("a note")
    raise error


def _several() -> None:
    errors: list[Exception] = []
    for number in range(2):
        try:
            _fail(number)
        except ValueError as error:
            errors.append(error)
    raise ExceptionGroup("several", errors)


def _deep() -> None:
    _deep()


def _compiled() -> None:
    compile("1 +", "a file", "exec")


def _without_lines() -> None:
    exec("raise ValueError('from nowhere')")


FAILURES: list[Callable[[], object]] = [
    *(
        _from_another,
        _after_another,
        _in_spite_of_another,
        _noted,
        _several,
        _deep,
        _compiled,
        _without_lines,
    ),
    *(partial(_two_on_a_line, True), partial(_two_on_a_line, False)),
    *(partial(_fail, "one"), partial(_fail, "another\nof two lines")),
]


@pytest.mark.parametrize("skip_frames", [0, 1])
def test_a_traceback_is_what_python_prints(skip_frames: int) -> None:
    """The first time as well as the second, which looks up no line; and whatever else failed meanwhile."""
    for failure in FAILURES * 2:
        with pytest.raises(Exception) as raised:
            failure()
        frames = raised.value.__traceback__
        assert frames
        printed = traceback.format_exception(
            type(raised.value), raised.value, frames.tb_next if skip_frames else frames
        )
        assert describe_exception(raised.value, skip_frames=skip_frames)["traceback"] == "".join(printed)


def test_tracebacks_do_not_pile_up() -> None:
    """A task that makes code as it runs has as many as it has items."""
    codes = []
    for number in range(1_000):
        code = compile(f"raise ValueError({number})", f"file {number}", "exec")
        with pytest.raises(ValueError) as raised:
            exec(code)
        assert f'"file {number}"' in describe_exception(raised.value, skip_frames=0)["traceback"]
        codes.append(weakref.ref(code))

    assert sum(code() is not None for code in codes) < 300
