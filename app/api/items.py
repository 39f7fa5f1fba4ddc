"""The route of one item.

How it works: what came in and what came out may be large, so both are passed on as the JSON that they are.
"""

import asyncio
from codecs import getincrementaldecoder
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Response

from app.api import models
from app.api.context import Ctx
from app.api.jobs import AFTER_MAX, JobId
from app.api.openapi import problems, returns
from app.api.pieces import Spread, json_answer
from app.api.query import Exact
from app.api.schemas import stamp
from app.domain.item import Told
from app.domain.store import Note
from app.service.inspection import ItemView
from app.service.legible import is_json

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}/items", tags=["results"])

_STRIP_BYTES = 64 << 10
_ATTEMPTS_AT_ONCE = 8
"""Each with as much as a traceback and a log may have."""
_NOTHING_TOLD = Told(None, None, None, None, None)


@router.get("/{index}", responses={200: returns("The item.", models.Item), **problems(404, 410, 422)})
async def get_item(
    context: Ctx,
    job_id: JobId,
    index: Annotated[int, Path(ge=0, le=AFTER_MAX, description="the position in the submission, from 0 on")],
) -> Response:
    """One item: its input, where it is, each attempt, and what it printed."""
    await context.jobs.get(job_id)
    try:
        view = await context.inspection.item(job_id, index)
    finally:
        await context.jobs.get(job_id)  # if it has gone while we looked, that is what there is to say
    return json_answer(await item_document(job_id, view))


async def item_document(job_id: str, view: ItemView) -> dict[str, Any]:
    """The item of an answer; an input that is not JSON is shown as the text it is."""
    told = _NOTHING_TOLD if view.result is None else Told.by(view.result)
    error = None if told.error is None else msgspec.json.decode(told.error)
    status = view.status
    if view.result is not None:
        status = "succeeded" if error is None else "failed"
    worker = view.worker
    return {
        "index": view.index,
        "key": _raw(told.key),
        "status": status,
        "input": Spread.of([view.input] if await is_json(view.input) else await _as_text(view.input)),
        "output": None if told.output is None else Spread.of([told.output]),
        "error": _raw(told.error),
        "duration_ms": _raw(told.duration_ms),
        "attempts": await _attempts(view.notes, told),
        "log": next((note.log for note in reversed(view.notes) if note.log), None)
        or (error or {}).get("log"),
        "progress": {"share": view.progress[0], "message": view.progress[1]} if view.progress else None,
        "running_seconds": worker.item_seconds if worker and worker.item == view.index else None,
        "worker": {"id": worker.id, "pid": worker.pid} if worker else None,
        "links": {"self": f"/v1/jobs/{job_id}/items/{view.index}", "job": f"/v1/jobs/{job_id}"},
    }


async def _attempts(notes: Sequence[Note], told: Told) -> Spread:
    """Those that failed, the last one included."""
    encoded: list[bytes] = []
    for note in notes:
        if note.error is not None:
            attempt = {"attempt": note.attempt, "at": stamp(note.at), "error": note.error}
            encoded.append(msgspec.json.encode(attempt))
            if len(encoded) % _ATTEMPTS_AT_ONCE == 0:
                await asyncio.sleep(0)
    if told.error is not None:
        encoded.append(b'{"attempt":%b,"error":%b}' % (told.attempts or b"1", told.error))
    return Spread.array(encoded)


def _raw(value: bytes | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(value)


async def _as_text(line: bytes) -> Sequence[bytes]:
    """The JSON of a text that is these bytes, as far as they are UTF-8."""
    decoder = getincrementaldecoder("utf-8")("replace")
    parts = [b'"']
    for start in range(0, len(line), _STRIP_BYTES):
        end = start + _STRIP_BYTES
        text = decoder.decode(line[start:end], final=end >= len(line))
        parts.append(msgspec.json.encode(text)[1:-1])
        await asyncio.sleep(0)
    return [*parts, b'"']
