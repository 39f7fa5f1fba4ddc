"""What somebody probably meant by a name that does not exist."""

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, if one is like it."""
    import difflib  # which a service does without until somebody errs

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
