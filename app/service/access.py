"""Who comes in, and with what.

How it works: a key is known by its SHA-256.  Every key there is gets compared, each in constant time, so how long
the answer takes tells nothing of how much of a key was right.

Invariant: what a key let in, goes with the key: nothing is valid longer than the key it came from.
"""

import hashlib
from collections.abc import Sequence
from hmac import compare_digest

from app.domain.caller import ANYBODY, Caller, Key, Keys, Quota
from app.domain.errors import Unauthorized

MISSING = "This needs a key: send Authorization: Bearer <key>. `python -m app key add` makes one."
WRONG = "There is no such key, or it was revoked."


class Access:
    """The door.  Without keys everybody comes in, as the one anonymous admin."""

    def __init__(self, keys: Keys | None, quota: Quota) -> None:
        self._keys = keys
        self._quota = quota
        """Of callers of whom nothing in particular is said."""

    @property
    def open(self) -> bool:
        """Whether there are no keys, by intention."""
        return self._keys is None

    def anybody(self) -> Caller:
        """Who comes without a key.  Unauthorized if that does not do."""
        if self._keys is not None:
            raise Unauthorized(MISSING)
        return Caller(ANYBODY.name, ANYBODY.role, self._quota)

    def bearer(self, key: str) -> Caller:
        """Whose key this is.  Unauthorized if it is nobody's."""
        if self._keys is None:
            return self.anybody()
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = _found(self._keys.current(), digest)
        if found is None:
            raise Unauthorized(WRONG)
        return self._caller(self._keys, found)

    def _caller(self, keys: Keys, key: Key) -> Caller:
        return Caller(key.name, key.role, keys.quota(key.name) or self._quota, key.id)


def _found(keys: Sequence[Key], digest: str) -> Key | None:
    found = None
    for key in keys:
        if compare_digest(key.sha256, digest):
            found = key
    return found
