"""Millpond: Python's `multiprocessing.Pool` as a service."""

__version__ = "0.1.0"
