"""The FastAPI application."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import lru_cache

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.api import (
    appending,
    control,
    events,
    files,
    health,
    inputs,
    items,
    jobs,
    metrics,
    openapi,
    overview,
    pages,
    pool,
    problem_pages,
    problems,
    results,
    session,
    understanding,
)
from app.api.context import CALLERS_MAX, Context
from app.api.direct import Direct
from app.api.front import Front
from app.api.gate import Gate
from app.api.streaming import HeadersOnly

ROUTED = (
    jobs,
    control,
    appending,
    understanding,
    inputs,
    items,
    results,
    events,
    overview,
    files,
    pool,
    session,
    problem_pages,
    health,
    metrics,
)
"""The modules with routes."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(context: Context, lifespan: Lifespan, noted: Callable[[], object]) -> FastAPI:
    """All routes over one context.  `/docs` works without a network.

    `noted` is called for each request, and for each part of an answer.
    """
    app: FastAPI = FastAPIOffline(
        title="Millpond",
        version=__version__,
        description="Python's multiprocessing.Pool as a service.",
        lifespan=lifespan,
        # /metrics tells what there is to tell; whether anybody collects it otherwise would be asked at each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,  # a redirected submission is one that curl does not make
    )
    app.state.context_of = lru_cache(CALLERS_MAX)(context.of)
    problems.install(app)
    routes = [route for module in ROUTED for route in module.router.routes]
    app.router.routes += (
        routes  # `include_router` would build each a second time, when first asked for another
    )
    pages.install(app)
    openapi.install(app, lambda: [task["name"] for task in context.jobs.tasks()])
    direct = Direct(app.build_middleware_stack(), routes)
    app.middleware_stack = Front(HeadersOnly(Gate(direct, context.access)), context.traffic, noted)
    return app
