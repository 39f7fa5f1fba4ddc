"""The `Prefer` header (RFC 7240)."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from fastapi import Request

from app.api.headers import every
from app.service.jobs import WAIT_SECONDS_MAX


class Preferences(msgspec.Struct, frozen=True):
    """What the client prefers; what cannot be understood is ignored, as the RFC asks."""

    wait_seconds: float | None = None
    strict: bool = False
    """Whether all items are to be checked first."""

    @classmethod
    def of(cls, request: Request) -> "Preferences":
        return _said(tuple(every(request.scope, b"prefer")))

    @property
    def applied(self) -> dict[str, str]:
        """The header that says which preferences were honoured."""
        return _applied(self.wait_seconds, self.strict)


@lru_cache(maxsize=64)
def _said(headers: Sequence[bytes]) -> Preferences:
    """What these headers say; most clients always send the same."""
    wait, strict = None, False
    for preference in b",".join(headers).decode("latin-1").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isdecimal():
            wait = min(float(value), WAIT_SECONDS_MAX)
        elif name.strip().lower() == "handling":
            strict = value.lower() == "strict"
    return Preferences(wait, strict)


@lru_cache(maxsize=64)
def _applied(wait_seconds: float | None, strict: bool) -> dict[str, str]:
    honoured = ["handling=strict"] if strict else []
    if wait_seconds is not None:
        honoured.append(f"wait={wait_seconds:g}")
    return {"Preference-Applied": ", ".join(honoured)} if honoured else {}
