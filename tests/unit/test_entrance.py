"""Who is believed for whom a request was forwarded."""

import pytest
from uvicorn.config import Config

from app.api.front import PROXIES
from app.api.streaming import Receive, Scope, Send


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application."""


def test_proxies_are_believed_as_uvicorn_would_believe_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the environment says otherwise, those that are here: uvicorn's default is ours."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)

    assert Config(nothing).forwarded_allow_ips == PROXIES
