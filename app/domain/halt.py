"""When a job is stopped for its failures."""

from decimal import Decimal, InvalidOperation

SHARE_JUDGED_AFTER = 100
"""A share of failures says little before this many results."""


def parse_share(text: str) -> Decimal:
    """`"3%"` → 0.03, exactly.  ValueError if it is not a percentage from 0 to 100."""
    number = text.removesuffix("%")
    try:
        percent = Decimal(number)
    except InvalidOperation:
        raise ValueError(text) from None
    if number == text or not (percent.is_finite() and 0 <= percent <= 100):
        raise ValueError(text)
    return percent / 100


def too_many_failures(max_failures: int | str | None, failed: int, done: int) -> bool:
    """Whether `failed` of `done` results are more than the job tolerates."""
    if max_failures is None:
        return False
    if isinstance(max_failures, int):
        return failed > max_failures
    # Not in floating point: 29 of 100 would be more than 29 %.
    return done >= SHARE_JUDGED_AFTER and failed > parse_share(max_failures) * done
