"""What a sender is told of a text that is not JSON."""

import msgspec
import pytest

from app.domain.errors import Malformed
from app.domain.not_json import why
from app.service.intake import split_array


def told(text: bytes) -> str:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text)
    return why(caught.value, text)


@pytest.mark.parametrize(
    "text",
    [
        rb'["\ud800"]',
        rb'{"a":"x\\\\\uDBFFy"}',
        rb'["\udc00"]',
        rb'["\ud800\u0041"]',
        rb'["\ud800\ud800"]',
        rb'{"\ud800":1}',
    ],
)
def test_a_lone_surrogate_is_called_one(text: bytes) -> None:
    """Wherever the parser stumbles over it, which says that the input was truncated."""
    assert "lone surrogate" in told(text)


@pytest.mark.parametrize("text", [rb'["a', rb'["\ud83d\ude00', rb'["\\\\ud800', b"[1,", rb'["\x"]'])
def test_what_is_cut_off_or_broken_otherwise_is_called_that(text: bytes) -> None:
    """A whole pair, and an escaped backslash before what looks like a half, are not to blame."""
    assert "surrogate" not in told(text)


@pytest.mark.parametrize("text", [b"", b" \n"])
def test_nothing_is_called_nothing(text: bytes) -> None:
    """It was not cut off."""
    assert told(text) == "it is empty"


def test_a_word_without_quotes_is_told_of_them() -> None:
    """To the parser it may be half of `false`."""
    assert "double quotes" in told(b"four")


def test_items_are_told_so() -> None:
    """The array of a submission names its place."""
    with pytest.raises(Malformed, match="a string has a lone surrogate"):
        split_array(rb'["\ud800"]', 100)
