"""The same function as a task of the service."""

from typing import Any

from bench.peers import functions
from workers import task


@task
def call(name: str, item: Any) -> Any:
    """Run a function on an item."""
    return functions.call(name, item)
