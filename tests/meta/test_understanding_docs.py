"""docs/understanding.md lists what the code can say."""

import re
from pathlib import Path

from app.domain.digest import GROUPS_MAX
from app.domain.explanation import CODES

DOCUMENT = (Path(__file__).parents[2] / "docs/understanding.md").read_text()


def test_every_reason_is_documented_as_it_is() -> None:
    """Each code with what it means, in the order of the code."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)

    assert rows == list(CODES.items())


def test_the_limits_that_are_told_are_those_that_hold() -> None:
    """How many groups are told apart."""
    assert f"The first {GROUPS_MAX} of a job are told apart" in DOCUMENT
