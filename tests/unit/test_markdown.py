"""Tables are Markdown, and go to their place in a document."""

import pytest

from bench.markdown import put_between, table
from bench.server import ROOT


def test_a_table_has_a_line_for_each_row() -> None:
    """The rows' titles are its first column."""
    assert (
        table("fault", ["a", "b"], {"x": ["1", "2"]})
        == "| fault | a | b |\n| --- | --- | --- |\n| x | 1 | 2 |"
    )


@pytest.mark.parametrize(("bench", "document"), [("faults", "docs/faults.md"), ("peers", "README.md")])
def test_writing_again_replaces_what_was_written(bench: str, document: str) -> None:
    """The document has the marks, so a command that takes half an hour finds them; what is outside of them stays."""
    before = (ROOT / document).read_text()

    once = put_between(before, bench, "one")

    assert "\none\n" in once
    assert put_between(once, bench, "two") == once.replace("\none\n", "\ntwo\n")
    assert once.partition(f"<!-- {bench}:")[0] == before.partition(f"<!-- {bench}:")[0]
    assert once.rpartition(f"<!-- {bench}: end -->")[2] == before.rpartition(f"<!-- {bench}: end -->")[2]


def test_without_the_marks_nothing_is_written() -> None:
    """Which ones are missing is said."""
    with pytest.raises(ValueError, match="peers: begin"):
        put_between("a document without marks", "peers", "one")
