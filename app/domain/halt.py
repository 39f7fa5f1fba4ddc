"""When a job is stopped for its failures."""

SHARE_JUDGED_AFTER = 100
"""A share of failures says little before this many results."""


def parse_share(text: str) -> float:
    """`"3%"` → 0.03.  ValueError if it is not a percentage from 0 to 100."""
    number = text.removesuffix("%")
    if number == text or not 0 <= (share := float(number)) <= 100:
        raise ValueError(text)
    return share / 100


def too_many_failures(max_failures: int | str | None, failed: int, done: int) -> bool:
    """Whether `failed` of `done` results are more than the job tolerates."""
    if max_failures is None:
        return False
    if isinstance(max_failures, int):
        return failed > max_failures
    return done >= SHARE_JUDGED_AFTER and failed > parse_share(max_failures) * done
