"""Every error the service itself raises.

    MillpondError
    ├── RequestError            the caller's fault; the same again will not help
    │   ├── Malformed           cannot be parsed
    │   ├── Invalid             understood, but not right; names each place
    │   ├── Unauthorized        nobody we know
    │   ├── Forbidden           not with this key, or not from there
    │   ├── NotFound            never existed, or not yours
    │   ├── Gone                existed; its retention is over
    │   ├── Conflict            not in this state
    │   ├── TooLarge            over a limit
    │   ├── WrongMediaType      sent as something we do not read
    │   └── OverQuota           you have too much here already
    └── ServiceError            ours; may work later
        ├── Unavailable         starting, draining, or the queue is full
        ├── StorageFull         the disk is full, or the quota used up
        └── StorageUnavailable  the disk or the database fails for now: locked, read-only, an I/O error

What a user's task does is never one of these: it is a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

FAULTS_MAX = 20
"""So many of the things wrong with a request are told."""


NAME_CHARS_MAX = 100
"""A name that a caller made up is told back to this length."""


def shown(name: str) -> str:
    """The name as an answer tells it."""
    return name[:NAME_CHARS_MAX]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: a JSON pointer into it, or a line of it, or a query parameter."""

    detail: str
    pointer: str | None = None
    line: int | None = None
    parameter: str | None = None


class MillpondError(Exception):
    """`code` is stable and names the problem type; `detail` says what is wrong and what to do."""

    code: ClassVar[str]

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


def problem(code: str, detail: str) -> dict[str, str]:
    """A problem object (RFC 9457), as it stands in a Job."""
    return {"type": f"/problems/{code}", "title": title_of(code), "detail": detail}


def title_of(code: str) -> str:
    """The title of every problem of this type."""
    return code.replace("-", " ").capitalize()


def problem_of(error: MillpondError) -> dict[str, str]:
    return problem(error.code, error.detail)


class RequestError(MillpondError):
    code = "bad-request"


class Malformed(RequestError):
    code = "malformed"


class Invalid(RequestError):
    code = "invalid"

    def __init__(self, detail: str, faults: Sequence[Fault] = (), total: int | None = None) -> None:
        """`faults` are the first ones of `total`, or all."""
        super().__init__(detail)
        self.faults = tuple(faults)
        self.total = len(self.faults) if total is None else total


class UnknownTask(Invalid):
    code = "unknown-task"


class Unauthorized(RequestError):
    code = "unauthorized"


class Forbidden(RequestError):
    code = "forbidden"


class NotFound(RequestError):
    code = "not-found"


class Gone(RequestError):
    code = "gone"


class Conflict(RequestError):
    code = "conflict"


class TooLarge(RequestError):
    code = "too-large"


class WrongMediaType(RequestError):
    code = "unsupported-media-type"


class OverQuota(RequestError):
    code = "over-quota"


class ServiceError(MillpondError):
    code = "internal"


class Unavailable(ServiceError):
    code = "unavailable"


class StorageFull(ServiceError):
    code = "storage-full"


class StorageUnavailable(ServiceError):
    code = "storage-unavailable"
