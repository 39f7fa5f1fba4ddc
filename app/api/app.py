"""The FastAPI application."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.api import (
    control,
    events,
    files,
    health,
    inputs,
    items,
    jobs,
    metrics,
    pages,
    pool,
    problems,
    results,
    session,
    understanding,
)
from app.api.context import Context
from app.api.gate import Gate
from app.api.streaming import HeadersOnly
from app.api.traffic import Counting, Routed

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(context: Context, lifespan: Lifespan) -> FastAPI:
    """All routes over one context.  `/docs` works without a network."""
    app: FastAPI = FastAPIOffline(
        title="Millpond",
        version=__version__,
        description="Python's multiprocessing.Pool as a service.",
        lifespan=lifespan,
    )
    app.state.context = context
    problems.install(app)
    for module in (
        jobs,
        control,
        understanding,
        inputs,
        items,
        results,
        events,
        files,
        pool,
        session,
        health,
        metrics,
    ):
        app.include_router(module.router)
    pages.install(app)
    app.add_middleware(Routed)
    app.add_middleware(Gate, access=context.access)
    app.add_middleware(HeadersOnly)
    app.add_middleware(Counting, traffic=context.traffic)
    return app
