"""Tables in Markdown, and the place in a document that a command keeps them in.  Pure."""

from collections.abc import Mapping, Sequence


def table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table, one line a row."""
    lines = [
        [corner, *columns],
        ["---"] * (len(columns) + 1),
        *([title, *row] for title, row in rows.items()),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_between(document: str, bench: str, text: str) -> str:
    """The document with `text` between the marks of `python -m bench.<bench>`.  ValueError if it has none."""
    begin, end = (
        f"<!-- {bench}: begin; written by python -m bench.{bench} --write -->",
        f"<!-- {bench}: end -->",
    )
    before, found, rest = document.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the document has no {begin} … {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
