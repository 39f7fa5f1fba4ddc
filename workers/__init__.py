"""Millpond's worker side: what task authors import, and the pool of processes that runs their functions.

Invariant: nothing here knows of HTTP, stores or the service.
"""

from workers.context import log, report_progress
from workers.files import File
from workers.interrupt import ItemCancelled
from workers.task import task

__all__ = ["File", "ItemCancelled", "log", "report_progress", "task"]
