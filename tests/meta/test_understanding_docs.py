"""docs/understanding.md lists what the code can say."""

import re
from pathlib import Path

from app.domain.explanation import CODES

DOCUMENT = (Path(__file__).parents[2] / "docs/understanding.md").read_text()


def test_every_reason_is_documented_as_it_is() -> None:
    """Each code with what it means, in the order of the code."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)

    assert rows == list(CODES.items())
