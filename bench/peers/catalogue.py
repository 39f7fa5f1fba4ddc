"""The libraries, in the order of the table, and what each needs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, as pip and the table know it."""

    name: str
    title: str
    adapter: str
    """Its class, in `bench.peers.libraries.NAME`."""
    requirements: tuple[str, ...] = ()
    """What its own environment is made of; none: the project's."""
    redis: bool = False


PEERS = (
    Peer("millpond", "Millpond", "Millpond"),
    Peer("celery", "Celery", "Celery", ("celery[redis]==5.7.0",), redis=True),
    Peer("rq", "RQ", "Rq", ("rq==2.12.0",), redis=True),
    Peer("dramatiq", "Dramatiq", "Dramatiq", ("dramatiq[redis]==2.2.1",), redis=True),
    Peer("huey", "Huey", "Huey", ("huey==3.5.4", "redis"), redis=True),
    Peer("ray", "Ray", "Ray", ("ray==2.60.0",)),
    Peer("dask", "Dask", "Dask", ("dask==2026.8.0", "distributed==2026.8.0")),
)
BY_NAME = {peer.name: peer for peer in PEERS}

TASKS_NEED = ("pydantic", "msgspec", "numpy", "pillow", "typing-extensions")
"""What the functions import that all of them run; in the project's own versions."""
