"""Regular expressions mean the same to every Python that this runs on."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_POSSESSIVE_GROUP = re.compile(r"\)[*+?]\+")
"""Before Python 3.11.5 it goes on where its last, failing turn was (https://github.com/python/cpython/issues/106052)."""


@pytest.mark.parametrize("package", ["app", "workers"])
def test_no_group_is_repeated_possessively(package: str) -> None:
    """An atomic group around a greedy one, `(?>(?:…)*)`, is right in all of them."""
    sources = {path.name: path.read_text() for path in (ROOT / package).rglob("*.py")}
    # The remark that tells why has it in words.
    found = [name for name, text in sources.items() if _POSSESSIVE_GROUP.search(re.sub(r"#.*", "", text))]

    assert found == []
