"""Whether the process lives, and whether it takes work."""

from fastapi import APIRouter, Response

from app.api.context import AnyPhase
from app.api.openapi import TEXT, returns
from app.api.query import Exact
from app.domain.errors import Unavailable

router = APIRouter(route_class=Exact, tags=["service"])


@router.get("/livez", responses={200: returns("It lives.", content=TEXT)})
async def livez() -> Response:
    """200 while the event loop turns."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz", responses={200: returns("It takes work.", content=TEXT)})
async def readyz(context: AnyPhase) -> Response:
    """200 while jobs are taken; 503 while starting, which includes recovery, and while stopping."""
    await context.jobs.wait_ready(0)
    if context.jobs.closing.is_set():
        raise Unavailable("The service is stopping.", retry_after_seconds=5)
    return Response("ok\n", media_type="text/plain")
