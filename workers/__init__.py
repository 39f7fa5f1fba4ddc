"""Millpond's worker side: what task authors import, and the pool of processes that runs their functions.

Invariant: nothing here knows of HTTP, stores or the service.
"""

from workers.files import File
from workers.task import task

__all__ = ["File", "task"]
