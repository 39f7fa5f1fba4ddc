"""API keys in a file, which is edited while it is used.

    {"keys":   [{"name": "etl", "role": "submit", "sha256": "9f86…", "created_at": "2026-01-01T00:00:00Z"}],
     "quotas": {"etl": {"jobs_max": 100, "queued_items_max": 1000000, "stored_bytes_max": 10000000000}}}

How it works: the file is replaced as a whole, never written in place, so a reader finds the old one or the new one.
Each look at the keys asks for the file's inode, size and time of change, which takes a microsecond or two, and reads
the file again only if one of them is another.

Invariant: no key is stored anywhere; what is kept of one is its SHA-256.
"""

import fcntl
import hashlib
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from app.domain.caller import Key, Quota, Role
from app.domain.errors import ServiceError, StorageUnavailable
from app.stores.names import make_directory

KEY_PREFIX = "millpond_"
"""So that a key is known for one wherever it turns up: by people, and by scanners that look for leaked ones."""
_KEY_BYTES = 32
KEYS_MAX = 1_000
"""Each request is compared with every key."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"

log = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME}$")]
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]


_Limit = Annotated[int, msgspec.Meta(ge=0)] | None


class _Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    jobs_max: _Limit = None
    queued_items_max: _Limit = None
    stored_bytes_max: _Limit = None


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: Annotated[tuple[_Entry, ...], msgspec.Meta(max_length=KEYS_MAX)] = ()
    quotas: dict[str, _Quota] = {}


def sha256_of(key: str) -> str:
    """What is kept of a key.

    One round, without salt, is enough here, as it would not be for a password: a key is 256 random bits, so there is
    no list of likely ones to try, and slowing each guess down adds nothing to 2^255 of them.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def check_name(name: str) -> str:
    """The name, if a caller may have it; ServiceError if not."""
    if not re.fullmatch(NAME, name):
        raise ServiceError(
            f"{name[:80]!r}: a caller's name has 1 to 64 letters, digits, dots, dashes, underscores or @."
        )
    return name


class KeyFile:
    """`Keys` in a file; and what the operator does with them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self._quotas: dict[str, Quota] = {}

    # -- For the service

    def load(self) -> None:
        """Read the file.  ServiceError, naming what is wrong and what to do, if that cannot be done."""
        if not self._path.exists():
            raise ServiceError(
                f"MILLPOND_API_KEYS_FILE={self._path}: there is no such file. Make a key with `python -m app key add"
                " NAME --role submit`, or set MILLPOND_AUTH=none if everybody who reaches the service may use it."
            )
        self._seen = self._stamp()
        self._take(self._read())
        if not self._keys:
            log.warning("%s holds no key yet: nobody comes in", self._path)

    def current(self) -> Sequence[Key]:
        """The keys as they are now; while the file is not right, or not there, as they were before."""
        stamp = self._stamp()
        if stamp != self._seen:
            before, self._seen = self._seen, stamp
            try:
                self._take(self._read())
                log.info("%s has changed: %d keys", self._path, len(self._keys))
            except ServiceError as error:
                if isinstance(error, StorageUnavailable):  # a key may have been revoked: look again
                    self._seen = before
                log.error("%s The keys of before stay in use.", error.detail)
        return self._keys

    def quota(self, name: str) -> Quota | None:
        return self._quotas.get(name)

    # -- For the operator

    def add(self, name: str, role: Role, now: datetime) -> str:
        """Make a key; it is returned, and cannot be had again."""
        key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        with self._changing() as content:
            entries = (*content.keys, _Entry(name, role, sha256_of(key), now))
            self._write(msgspec.structs.replace(content, keys=entries))
        return key

    def revoke(self, name: str, key_id: str | None = None) -> int:
        """Take away the keys of this name, or the one of them with this id; how many there were."""
        with self._changing() as content:
            kept = tuple(
                entry for entry in content.keys if entry.name != name or key_id not in (None, _key(entry).id)
            )
            if len(kept) < len(content.keys):
                self._write(msgspec.structs.replace(content, keys=kept))
            return len(content.keys) - len(kept)

    def listed(self) -> Sequence[Key]:
        """Those there are, in the order they were made."""
        return tuple(map(_key, self._read().keys))

    def _take(self, content: _Content) -> None:
        self._keys = tuple(map(_key, content.keys))
        self._quotas = {
            name: Quota(quota.jobs_max, quota.queued_items_max, quota.stored_bytes_max)
            for name, quota in content.quotas.items()
        }

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _read(self) -> _Content:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            raise ServiceError(f"{self._path}: there is no such file.") from None
        except OSError as error:
            raise StorageUnavailable(f"{self._path} cannot be read: {error.strerror}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServiceError(f"{self._path} is not a file of keys: {error}.") from None

    @contextmanager
    def _changing(self) -> Iterator[_Content]:
        """What is in the file, if there is one, while nobody else changes it."""
        try:
            make_directory(self._path.parent)
            directory = os.open(self._path.parent, os.O_RDONLY)
        except OSError as error:
            raise ServiceError(f"{self._path.parent}: {error.strerror}.") from None
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield self._read() if self._path.exists() else _Content()
            os.fsync(directory)
        finally:
            os.close(directory)

    def _write(self, content: _Content) -> None:
        """Replace the file, for nobody else to read."""
        try:
            with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".keys-", delete=False) as new:
                new.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
                new.flush()
                os.fsync(new.fileno())
            Path(new.name).replace(self._path)
        except OSError as error:
            raise ServiceError(f"{self._path} cannot be written: {error.strerror}.") from None


def _key(entry: _Entry) -> Key:
    return Key(entry.name, entry.role, entry.sha256, entry.created_at)
