"""Routes of open jobs: more items, and the seal after the last of them."""

import asyncio
from dataclasses import replace
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from app.api import body, models
from app.api.context import Context, Ctx
from app.api.jobs import AFTER_MAX, JobId, job_response
from app.api.openapi import header, lines, problems, returns
from app.api.query import Exact
from app.api.submit import JSONL
from app.domain.errors import Fault, Invalid, WrongMediaType
from app.domain.item import Block
from app.service.cutting import elements
from app.service.intake import LineCutter

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["jobs"])

_ITEMS = {
    "parameters": [header("Content-Encoding", "how the body is packed", enum=["gzip", "identity"])],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "array", "items": {}}}, **lines(None)},
    },
}

Offset = Annotated[int, Query(ge=0, le=AFTER_MAX, description="index of the first item that is sent")]


@router.post(
    "/items",
    status_code=202,
    responses={
        202: returns("How many items the job has now.", models.Appended),
        **problems(400, 404, 409, 410, 413, 415, 422, 429, 507),
    },
    openapi_extra=_ITEMS,
)
async def post_items(request: Request, context: Ctx, job_id: JobId, offset: Offset) -> Response:
    """Append items to an open job: a JSON array or JSON lines, all or none; what is there already may be among them."""
    context.space.check()
    await context.appending.check(job_id)
    blocks = [replace(block, first=block.first + offset) for block in await _blocks(request, context)]
    total = await context.appending.append(job_id, blocks)
    return Response(msgspec.json.encode({"total": total}), 202, media_type="application/json")


@router.post(
    "/seal",
    responses={
        200: returns("The job, sealed.", models.Job, headers=("Retry-After",)),
        **problems(404, 410, 422),
    },
)
async def seal_job(context: Ctx, job_id: JobId) -> Response:
    """No more items will come: the job ends when it has done those it has."""
    return job_response(await context.control.seal(job_id))


async def _blocks(request: Request, context: Context) -> list[Block]:
    """The items in the body, counted from 0."""
    settings = context.settings
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {"", "application/json", *JSONL}:
        raise WrongMediaType("Items are sent as application/jsonl, or as application/json, an array.")
    pieces = body.bounded(request, settings.max_body_bytes, "Send these items in several requests.")
    if media_type == "application/json":
        try:
            return await elements(pieces, settings.max_item_bytes)
        except Invalid:
            detail = "must be the array of inputs itself"
            raise Invalid(f"The body {detail}.", [Fault(detail, pointer="")]) from None
    cutter = LineCutter(settings.max_item_bytes)
    blocks: list[Block] = []
    async for data in pieces:
        blocks += cutter.feed(data)
        await asyncio.sleep(0)
    return [*blocks, *cutter.finish()]
