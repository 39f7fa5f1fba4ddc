"""Who asks, and what they may do.

    read ──▶ submit ──▶ admin       each may what those before it may

A caller is a name; a key is the name's way in, with a role.  Several keys may share a name: one to submit with, one
for those who only look.

Invariant: whoever is not an admin sees and touches what was submitted under its own name, and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether it may everything that the other may."""
        return _LADDER.index(self) >= _LADDER.index(other)


_LADDER = tuple(Role)


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one caller may have here; None: no limit."""

    jobs_max: int | None = None
    """Unfinished ones."""
    queued_items_max: int | None = None
    stored_bytes_max: int | None = None
    """Items, results and uploaded files."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is kept: not the key, but its SHA-256, from which nobody gets it back."""

    name: str
    role: Role
    sha256: str
    created_at: datetime

    @property
    def id(self) -> str:
        """What tells the keys of one name apart, and may be shown."""
        return self.sha256[:12]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    name: str | None
    role: Role
    quota: Quota = Quota()
    key_id: str | None = None
    make_ticket: Callable[[str], str] | None = None
    """A short-lived ticket to the events of the job of this id."""

    @property
    def sees_only(self) -> str | None:
        """The name under which it sees; None: everything."""
        return None if self.role is Role.ADMIN else self.name or ""

    def sees(self, submitted_by: str | None) -> bool:
        """Whether what was submitted under this name is there for the caller at all."""
        return self.role is Role.ADMIN or (submitted_by is not None and submitted_by == self.name)


ANYBODY = Caller(None, Role.ADMIN)
"""Everybody, where there are no keys."""
NOBODY = Caller(None, Role.READ)
"""Who has not said who it is, and sees nothing."""


class Keys(Protocol):
    """The keys there are now; looks after changes by itself, and cheaply."""

    def current(self) -> Sequence[Key]: ...

    def quota(self, name: str) -> Quota | None:
        """What was said of this caller in particular."""
        ...


class Ended(Protocol):
    """Sessions that were ended before their time."""

    def __contains__(self, session: str) -> bool: ...

    async def add(self, session: str, until: datetime, now: datetime) -> None:
        """Keep this one until its time is over.  When it returns, that survives a crash."""
        ...
