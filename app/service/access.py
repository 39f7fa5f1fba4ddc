"""Who comes in, and with what: a key, a session that a browser got for its key, or a ticket to one job's events.

How it works: a key is known by its SHA-256.  Every key there is gets compared, each in constant time, so how long
the answer takes tells nothing of how much of a key was right.  Sessions and tickets are not kept anywhere: they are
sealed words that name the key they came from, so they outlive a restart.  What is kept is which were ended early.

Invariant: what a key let in goes with the key: when that is revoked, so are its sessions and tickets, at once; and
they may never do more than the key may now.  A session that was ended is over for good.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hmac import compare_digest
from secrets import token_hex

from app.domain.caller import ANYBODY, Caller, Ended, Key, Keys, Quota
from app.domain.clock import Clock
from app.domain.errors import Unauthorized
from app.service.seal import Seal

TICKET_SECONDS = 300
"""A stream that has begun goes on; after this long another one needs another ticket."""
MISSING = "This needs a key: send Authorization: Bearer <key>. `python -m app key add` makes one."
WRONG = "There is no such key, or it was revoked."
OVER = "The session is over; sign in again, with POST /v1/session."
NO_TICKET = "The ticket is not for this job, or its time is over; GET the job for a new one in links.events."


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser is given."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Tickets:
    """Makes those that a key may give."""

    seal: Seal
    clock: Clock
    key_id: str

    def __call__(self, job_id: str) -> str:
        until = self.clock.now() + timedelta(seconds=TICKET_SECONDS)
        return self.seal.sealed("ticket", [self.key_id, job_id], until)


class Access:
    """The door.  Without keys everybody comes in, as the one anonymous admin.

    `local`: nobody said that everybody may; so who comes in is on this machine.
    """

    def __init__(
        self,
        keys: Keys | None,
        quota: Quota,
        seal: Seal,
        ended: Ended,
        clock: Clock,
        session_seconds: float,
        *,
        local: bool = False,
    ) -> None:
        self.local = local
        self._keys = keys
        self._quota = quota
        """Of callers of whom nothing in particular is said."""
        self._seal = seal
        self._clock = clock
        self._session_seconds = session_seconds
        self._ended = ended

    @property
    def open(self) -> bool:
        """Whether there are no keys, by intention."""
        return self._keys is None

    def anybody(self) -> Caller:
        """Who comes with nothing.  Unauthorized if that does not do."""
        if self._keys is not None:
            raise Unauthorized(MISSING)
        return ANYBODY

    def bearer(self, key: str) -> Caller:
        """Whose key this is.  Unauthorized if it is nobody's."""
        if self._keys is None:
            return self.anybody()
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for entry in self._keys.current():
            if compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            raise Unauthorized(WRONG)
        return self._caller(self._keys, found)

    def begin_session(self, caller: Caller) -> Session | None:
        """A session of this caller's; None where nobody needs one."""
        if caller.key_id is None:
            return None
        until = self._clock.now() + timedelta(seconds=self._session_seconds)
        return Session(self._seal.sealed("session", [caller.key_id, token_hex(8)], until), until)

    def session(self, token: str) -> Caller:
        """Whose session this is.  Unauthorized if it has ended."""
        opened = self._seal.opened("session", token, self._clock.now())
        if opened is None:
            raise Unauthorized(OVER)
        (key_id, session), _ = opened
        if session in self._ended:
            raise Unauthorized(OVER)
        return self._by_id(key_id, OVER)

    async def end_session(self, token: str) -> None:
        """The session is over, for whoever has a copy of it too, after a restart too; harmless if it is already."""
        now = self._clock.now()
        if opened := self._seal.opened("session", token, now):
            (_, session), until = opened
            await self._ended.add(session, until, now)

    def ticket(self, token: str, job_id: str) -> Caller:
        """Whose ticket to this job's events it is, and to nothing else.  Unauthorized if it is over."""
        opened = self._seal.opened("ticket", token, self._clock.now())
        if opened is None or opened[0][1] != job_id:
            raise Unauthorized(NO_TICKET)
        caller = self._by_id(opened[0][0], NO_TICKET)
        return replace(caller, make_ticket=None)  # else it would renew itself for ever

    def _by_id(self, key_id: str, refusal: str) -> Caller:
        found = next((key for key in self._keys.current() if key.id == key_id), None) if self._keys else None
        if self._keys is None or found is None:
            raise Unauthorized(refusal)
        return self._caller(self._keys, found)

    def _caller(self, keys: Keys, key: Key) -> Caller:
        quota = keys.quota(key.name) or self._quota
        return Caller(key.name, key.role, quota, key.id, Tickets(self._seal, self._clock, key.id))
