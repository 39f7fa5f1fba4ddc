"""A secret of the service's own, made once and kept in its data directory."""

import os
import secrets
import tempfile
from pathlib import Path

from app.domain.errors import ServiceError
from app.stores.names import put


def kept_secret(path: Path, size: int) -> bytes:
    """The secret; made now if there is none.  For nobody else to read.  ServiceError if that cannot be done."""
    try:
        if path.exists():
            secret = path.read_bytes()
            if len(secret) >= size:
                return secret
        secret = secrets.token_bytes(size)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".secret-", delete=False) as new:
            new.write(secret)
            new.flush()
            os.fsync(new.fileno())
        put(new.name, path)
    except OSError as error:
        raise ServiceError(f"{path}: {error.strerror}.") from error
    return secret
