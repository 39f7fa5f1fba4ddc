"""A service with keys, and clients of it: one for each caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.domain.caller import Role
from app.stores.keys import KeyFile
from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import client

CALLERS = {"ann": Role.SUBMIT, "bob": Role.SUBMIT, "reader": Role.READ, "boss": Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Keyed:
    """A running service, its file of keys, and the keys by name; `ann-read` is a key of ann's that only reads."""

    server: Server
    file: KeyFile
    keys: dict[str, str]

    def client(self, name: str) -> httpx.Client:
        """A client that sends this caller's key."""
        api = client(self.server)
        api.headers.update(bearer(self.keys[name]))
        return api

    def stranger(self) -> httpx.Client:
        """A client that sends no key."""
        return client(self.server)

    def new_key(self, name: str, role: Role) -> str:
        return self.file.add(name, role, datetime.now(UTC))


@contextmanager
def serving_keys(folder: Path, **settings: str) -> Iterator[Keyed]:
    """A service with these callers."""
    file = KeyFile(folder / "keys.json")
    keys = {name: file.add(name, role, datetime.now(UTC)) for name, role in CALLERS.items()}
    keys["ann-read"] = file.add("ann", Role.READ, datetime.now(UTC))
    with serving(folder / "data", api_keys_file=str(folder / "keys.json"), **settings) as server:
        yield Keyed(server, file, keys)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
