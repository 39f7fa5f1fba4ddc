"""A service with keys, and clients of it: one for each caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.domain.caller import Role
from app.stores.keys import KeyFile
from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import client

CALLERS = {"ann": Role.SUBMIT, "bob": Role.SUBMIT, "reader": Role.READ, "boss": Role.ADMIN}


@contextmanager
def serving_keys(folder: Path, **settings: str) -> Iterator[tuple[Server, dict[str, str]]]:
    """A service with these callers, and their keys by name; `ann-read` is a key of ann's that only reads."""
    keys = folder / "keys.json"
    made = {name: KeyFile(keys).add(name, role, datetime.now(UTC)) for name, role in CALLERS.items()}
    made["ann-read"] = KeyFile(keys).add("ann", Role.READ, datetime.now(UTC))
    with serving(folder / "data", api_keys_file=str(keys), **settings) as server:
        yield server, made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def as_caller(server: Server, key: str) -> httpx.Client:
    """A client that sends this key."""
    api = client(server)
    api.headers.update(bearer(key))
    return api
