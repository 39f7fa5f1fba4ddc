"""The tasks that ship.  `workers.tasks.faults` is for tests, and loaded only when it is named."""

__all__ = ["aggregation", "images", "numbers", "simulation"]
