"""Options that were said lately are not taken apart again, and mean the same."""

import pytest

from app.api.submit import SAID_BYTES_MAX, SAID_MAX, said
from app.domain.errors import Invalid


def test_what_was_said_lately_is_not_taken_apart_again() -> None:
    """The very same options; what is said otherwise by one byte is others."""
    first = said({"task": b'"square"', "label": b'"a"'})

    assert said({"task": b'"square"', "label": b'"a"'}) is first
    assert said({"task": b'"square"', "label": b'"b"'}).label == "b"
    assert said({"task": b'"square"', "label": b"null"}).label is None


def test_a_number_that_equals_another_value_is_not_taken_for_it() -> None:
    """Of `1`, `true` and `1.0`, which Python takes for equal, only the first is a number of attempts."""
    assert said({"task": b'"square"', "max_attempts": b"1"}).max_attempts == 1

    for other in (b"true", b"1.5"):
        with pytest.raises(Invalid, match="max_attempts"):
            said({"task": b'"square"', "max_attempts": other})


def test_what_is_wrong_is_wrong_each_time() -> None:
    """Nothing is kept of it."""
    for _ in range(2):
        with pytest.raises(Invalid, match="priority"):
            said({"task": b'"square"', "priority": b'"soon"'})


def test_what_is_long_or_long_ago_is_not_kept() -> None:
    """So what is kept is bounded, whoever sends what."""
    long = {"task": b'"square"', "metadata": b'{"text":"%b"}' % (b"a" * SAID_BYTES_MAX)}
    first = said({"task": b'"square"'})
    for number in range(SAID_MAX):
        said({"task": b'"square"', "label": b'"%d"' % number})

    assert said(long) == said(long)
    assert said(long) is not said(long)
    assert said({"task": b'"square"'}) is not first
