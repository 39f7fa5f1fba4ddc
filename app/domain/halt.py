"""When a job is stopped for its failures, and what is said of an early end."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from app.domain.errors import problem
from app.domain.job import Event, Options

SHARE_JUDGED_AFTER = 100
"""A share of failures says little before this many results."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a cancellation did: items dropped, and running ones asked to end."""

    dropped: int
    signalled: int


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


def reason(why: Event, options: Options) -> dict[str, str] | None:
    """What a job says of its early end; nothing if that was asked for."""
    if why is Event.TOO_MANY_FAILURES:
        detail = f"More items failed than max_failures, {options.max_failures}, allows; what ran then still counts."
        return problem("too-many-failures", detail)
    if why is Event.TIMED_OUT:
        detail = f"The job was not done within job_timeout_seconds, {options.job_timeout_seconds:g}."
        return problem("job-timeout", detail)
    return None
