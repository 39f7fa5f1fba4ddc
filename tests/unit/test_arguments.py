"""What a request gives the function of its route."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import parse_qsl

import pytest
from fastapi import Depends, Header, Query, Request
from fastapi.dependencies.utils import get_dependant
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from app.api.arguments import Called, parsed

Limit = Annotated[int, Query(ge=1)]
Needed = Annotated[str, Query(alias="needs")]


async def _doubled(request: Request) -> int:
    return 2 * int(request.headers["x-number"])


async def _route(
    doubled: Annotated[int, Depends(_doubled)], index: int, limit: Limit = 50
) -> tuple[int, int, int]:
    return doubled, index, limit


async def _needing(needed: Needed, limit: Limit = 50) -> tuple[str, int]:
    return needed, limit


async def _asking_for_many(limit: Annotated[list[int], Query()]) -> None: ...


async def _asking_for_a_header(x_number: Annotated[str, Header()]) -> None: ...


def _called(index: str, query: bytes = b"", function: Callable[..., Any] = _route) -> Any:
    scope = {
        "type": "http",
        "headers": [(b"x-number", b"4")],
        "path_params": {"index": index},
        "query_string": query,
    }
    return asyncio.run(Called(get_dependant(path="/{index}", call=function))(Request(scope)))


def test_a_function_gets_what_its_signature_asks_for() -> None:
    """From what it depends on, from the path and from the query."""
    assert _called("3", b"limit=7") == (8, 3, 7)


def test_what_a_query_does_not_say_has_its_default() -> None:
    """With and without a query."""
    assert _called("3") == _called("3", b"other=1") == (8, 3, 50)


@pytest.mark.parametrize(
    ("index", "query", "wrong"),
    [("x", b"", ["index"]), ("3", b"limit=0", ["limit"]), ("x", b"limit=0", ["index", "limit"])],
)
def test_all_that_is_wrong_is_told_together(index: str, query: bytes, wrong: list[str]) -> None:
    """As the framework tells it."""
    with pytest.raises(RequestValidationError) as refusal:
        _called(index, query)

    assert [entry["loc"][-1] for entry in refusal.value.errors()] == wrong


def test_a_parameter_goes_by_the_name_it_is_given_and_may_be_needed() -> None:
    """That it is missing is told as whatever else is wrong."""
    assert _called("", b"needs=&limit=3", _needing) == ("", 3)

    for query, wrong in ((b"", ["needs"]), (b"needed=x&limit=0", ["needs", "limit"])):
        with pytest.raises(RequestValidationError) as refusal:
            _called("", query, _needing)
        assert [entry["loc"] for entry in refusal.value.errors()] == [("query", name) for name in wrong]


@given(st.lists(st.sampled_from(["a", "b", "=", "&", "%26", "%3D", "+", ";", "/"]), max_size=12).map("".join))
def test_a_query_says_what_the_standard_library_reads(query: str) -> None:
    """Whether there is anything to undo in it or not."""
    assert list(parsed(query.encode())) == parse_qsl(query, keep_blank_values=True)


def test_a_parameter_that_may_be_there_several_times_is_refused() -> None:
    """When its route is made: of what is there twice only one would be read."""
    with pytest.raises(AssertionError):
        Called(get_dependant(path="/", call=_asking_for_many))


def test_a_signature_that_asks_for_more_is_refused() -> None:
    """When its route is made, not when it is asked."""
    with pytest.raises(AssertionError, match="are read from the request"):
        Called(get_dependant(path="/", call=_asking_for_a_header))
