"""Headers are found by their names; of one that is there several times the last counts, or all do."""

import pytest

from app.api.headers import every, header, headers_of
from app.api.streaming import Scope


def asked(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "headers": list(headers)}


def test_a_header_is_found_by_its_name() -> None:
    """As text of RFC 9112, which is Latin-1; None where it is not there."""
    scope = asked((b"host", b"x"), (b"content-type", b"a/\xe9"))

    assert header(scope, b"content-type") == "a/é"
    assert header(scope, b"accept") is None
    assert headers_of(scope) is headers_of(scope)


@pytest.mark.parametrize(
    ("values", "told"),
    [([], ()), ([b"a"], (b"a",)), ([b"a", b"b"], (b"a", b"b")), ([b"a", b"a"], (b"a", b"a"))],
)
def test_all_headers_of_a_name_count_where_a_list_may_be_divided(
    values: list[bytes], told: tuple[bytes, ...]
) -> None:
    """As `Prefer`, which may be sent several times (RFC 7240, section 2)."""
    scope = asked((b"host", b"x"), *((b"prefer", value) for value in values), (b"accept", b"*"))

    assert tuple(every(scope, b"prefer")) == told
    assert header(scope, b"prefer") == (told[-1].decode() if told else None)
