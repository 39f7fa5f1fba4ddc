"""A job during which the service dies, for clients of every kind to follow."""

from collections.abc import Callable

import httpx

from bench.server import Server
from tests.integration.answers import client, submitted
from tests.waiting import eventually

ITEMS = [0.001 + index * 1e-9 for index in range(1_500)]
"""For `sleep_for`; each says another time, so that its output tells whose it is."""
KILLED_AT = (200, 700)
SENT_MORE = 500
"""How many items come after each death, so that a client has to come back for them."""
SEEN_SECONDS_MAX = 30


def opened(api: httpx.Client) -> str:
    """The id of the job, which has its first items; `killed_while_followed` sends the others."""
    id_: str = submitted(api, "sleep_for", ITEMS[:SENT_MORE], open=True)["id"]
    return id_


def killed_while_followed(server: Server, job_id: str, seen: Callable[[], int]) -> None:
    """SIGKILL, and a new start, each time that a client has seen so many lines of the job; then its seal."""
    for number, killed_at in enumerate(KILLED_AT, 1):
        eventually(lambda: seen() >= killed_at, SEEN_SECONDS_MAX, f"{killed_at} lines of {job_id}", 0.02)  # noqa: B023
        server.kill()
        server.start()
        with client(server) as api:
            offset = number * SENT_MORE
            more = ITEMS[offset : offset + SENT_MORE]
            api.post(f"/v1/jobs/{job_id}/items?offset={offset}", json=more).raise_for_status()
    with client(server) as api:
        api.post(f"/v1/jobs/{job_id}/seal").raise_for_status()
