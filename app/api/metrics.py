"""Figures for Prometheus (docs/metrics.md), which `exposition` makes."""

import asyncio

from fastapi import APIRouter, Request, Response

from app.api.context import AnyPhase
from app.api.openapi import TEXT, returns
from app.api.query import Exact
from app.api.traffic import Timed, Traffic
from app.service.figures import Snapshot

_TEXTS = {**TEXT, "application/openmetrics-text": TEXT["text/plain"]}

router = APIRouter(route_class=Exact, tags=["service"])


@router.get("/metrics", responses={200: returns("The figures.", content=_TEXTS)})
async def get_metrics(request: Request, context: AnyPhase) -> Response:
    """What an operator watches, in the text format of Prometheus or OpenMetrics."""
    accept = request.headers.get("accept", "")
    snapshot, traffic = await context.figures.now(), context.traffic.copied()
    text, media_type = await asyncio.to_thread(_exposed, snapshot, traffic, context.timed, accept)
    return Response(text, headers={"Content-Type": media_type})


def _exposed(snapshot: Snapshot, traffic: Traffic, timed: Timed, accept: str) -> tuple[bytes, str]:
    from app.api.exposition import exposed  # on this thread, as the first time it is loaded

    return exposed(snapshot, traffic, timed, accept)
