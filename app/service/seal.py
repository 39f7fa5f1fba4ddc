"""Words that come back unchanged: sealed with a secret, for a purpose, until a time.

A token is `<words>.<seal>`, both base64url; the seal is an HMAC-SHA-256 (RFC 2104) over purpose, time and words.  Who
has a token can read the words, and can neither change them nor use them for anything else.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

SECRET_BYTES = 32
TOKEN_CHARS_MAX = 1_000


class Seal:
    """One secret.  Whoever has the same one opens what was sealed, after a restart too."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) >= SECRET_BYTES
        self._secret = secret

    def sealed(self, purpose: str, words: Sequence[str], until: datetime) -> str:
        body = msgspec.json.encode([purpose, until.timestamp(), *words])
        return f"{_encoded(body)}.{_encoded(self._mac(body))}"

    def opened(self, purpose: str, token: str, now: datetime) -> tuple[list[str], datetime] | None:
        """The words and their time, if they were sealed for this purpose and it is not over."""
        body, _, mac = token.partition(".")
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            return None
        try:
            data = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except ValueError:
            return None
        if not hmac.compare_digest(_encoded(self._mac(data)), mac):
            return None
        sealed_for, until, *words = msgspec.json.decode(data)
        if sealed_for != purpose or now.timestamp() >= until:
            return None
        return words, datetime.fromtimestamp(until, UTC)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, hashlib.sha256)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
