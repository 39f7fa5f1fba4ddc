"""Routes of open jobs: more items, and the seal after the last of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec.structs import replace

from app.api import body, documents, models
from app.api.context import ApiSettings, Context, Ctx
from app.api.headers import header as header_of
from app.api.jobs import AFTER_MAX, JobId, job_response
from app.api.openapi import header, lines, problems, returns
from app.api.preferences import Preferences
from app.api.query import Exact
from app.api.submit import JSONL, by_line
from app.domain.errors import Fault, Invalid, WrongMediaType
from app.domain.item import Block
from app.domain.job import Job
from app.service.checking import Place
from app.service.cutting import WHOLE_BYTES, elements
from app.service.intake import LineCutter, split_array

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["jobs"])

_ITEMS = {
    "parameters": [
        header("Content-Encoding", "how the body is packed", enum=["gzip", "identity"]),
        header("Prefer", "`handling=strict`: append the items only if each is what the task takes"),
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "array", "items": {}}}, **lines(None)},
    },
}

Placed = tuple[Block, Place]
"""Items, and where each stands in the body."""
Offset = Annotated[int, Query(ge=0, le=AFTER_MAX, description="index of the first item that is sent")]


@router.post(
    "/items",
    status_code=202,
    responses={
        202: returns("How many items the job has now.", models.Appended, headers=("Preference-Applied",)),
        **problems(400, 404, 409, 410, 413, 415, 422, 429, 507),
    },
    openapi_extra=_ITEMS,
)
async def post_items(request: Request, context: Ctx, job_id: JobId, offset: Offset) -> Response:
    """Append items to an open job: a JSON array or JSON lines, all or none; what is there already may be among them."""
    context.space.check()
    await context.appending.check(job_id)
    placed = await _blocks(request, context)
    preferences = Preferences(strict=Preferences.of(request).strict)
    if preferences.strict:
        await _check(context, (await context.jobs.get(job_id)).job, placed)
    blocks = [replace(block, first=block.first + offset) for block, _ in placed]
    document = {"total": await context.appending.append(job_id, blocks)}
    return documents.answer(document, 202, preferences.applied)


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


async def _check(context: Context, job: Job, placed: Sequence[Placed]) -> None:
    """Invalid if any of the items is not what the job's task takes."""
    task = context.jobs.task(job.task)
    async with context.jobs.checking.examination(task, job.params) as examination:
        for block, place in placed:
            await examination.add([block], place)
        await examination.finish()


async def _blocks(request: Request, context: Context) -> list[Placed]:
    """The items in the body, counted from 0."""
    settings = context.settings
    media_type = (header_of(request.scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type not in {"", "application/json", *JSONL}:
        raise WrongMediaType("Items are sent as application/jsonl, or as application/json, an array.")
    sent = await body.small(request, min(WHOLE_BYTES, settings.max_body_bytes))
    if media_type == "application/json":
        try:
            return [(block, _by_pointer) for block in await _elements(sent, settings)]
        except Invalid:
            detail = "must be the array of inputs itself"
            raise Invalid(f"The body {detail}.", [Fault(detail, pointer="")]) from None
    cutter = LineCutter(settings.max_item_bytes)
    placed: list[Placed] = []
    if isinstance(sent, bytes):
        placed += _numbered(cutter, cutter.feed(sent))
    else:
        async for data in _pieces(sent, settings):
            placed += _numbered(cutter, cutter.feed(data))
            await asyncio.sleep(0)
    return [*placed, *_numbered(cutter, cutter.finish())]


async def _elements(sent: bytes | Request, settings: ApiSettings) -> Sequence[Block]:
    if isinstance(sent, bytes):
        return split_array(sent, settings.max_item_bytes)
    return await elements(_pieces(sent, settings), settings.max_item_bytes)


def _pieces(request: Request, settings: ApiSettings) -> AsyncIterator[bytes]:
    return body.bounded(request, settings.max_body_bytes, "Send these items in several requests.")


def _numbered(cutter: LineCutter, blocks: Iterable[Block]) -> list[Placed]:
    """These blocks, as the cutter cuts them."""
    return [(block, partial(by_line, block.first, cutter.numbers)) for block in blocks]


def _by_pointer(index: int, detail: str) -> Fault:
    return Fault(detail, pointer=f"/{index}")
