"""What a task returns becomes JSON, or is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import task
from workers.outputs import encoder, is_settled
from workers.report import InvalidOutput
from workers.task import TaskSpec


@task
def anything(x: int) -> Any: ...


@task
def numbers(x: int) -> dict[str, float]:
    return {}


ANYTHING, NUMBERS = (encoder(TaskSpec.of(function), []) for function in (anything, numbers))

_texts = st.sampled_from(["", "N", "I", "NaN", "Infinity", "-Infinity", "N and Infinity"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


@given(_values)
def test_what_json_can_say_is_said(value: Any) -> None:
    """Also a text that speaks of what it cannot."""
    assert json.loads(ANYTHING(value)) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_know_is_refused(number: float) -> None:
    """Wherever it stands."""
    for value in (number, [number], {"Infinity": [1.0, number]}, {"NaN": "Infinity", "x": number}):
        with pytest.raises(InvalidOutput, match="return null instead"):
            ANYTHING(value)
    with pytest.raises(InvalidOutput, match="return null instead"):
        NUMBERS({"x": number})
    assert not is_settled(number)
