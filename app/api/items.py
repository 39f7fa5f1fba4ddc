"""The route of one item."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Response

from app.api import models
from app.api.context import Ctx
from app.api.jobs import AFTER_MAX, JobId
from app.api.openapi import problems, returns
from app.api.query import Exact
from app.api.schemas import stamp
from app.domain.store import Note
from app.service.inspection import ItemView

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}/items", tags=["results"])


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
    return Response(msgspec.json.encode(item_document(job_id, view)), media_type="application/json")


def item_document(job_id: str, view: ItemView) -> dict[str, Any]:
    """The item of an answer; an input that is not JSON is shown as the text it is."""
    result = msgspec.json.decode(view.result) if view.result else {}
    status = view.status
    if view.result is not None:
        status = "failed" if "error" in result else "succeeded"
    worker = view.worker
    return {
        "index": view.index,
        "key": result.get("key"),
        "status": status,
        "input": _json_or_text(view.input),
        "output": result.get("output"),
        "error": result.get("error"),
        "duration_ms": result.get("duration_ms"),
        "attempts": [_attempt(note) for note in view.notes if note.error is not None]
        + ([{"attempt": result.get("attempts", 1), "error": result["error"]}] if "error" in result else []),
        "log": next((note.log for note in reversed(view.notes) if note.log), None)
        or (result.get("error") or {}).get("log"),
        "progress": {"share": view.progress[0], "message": view.progress[1]} if view.progress else None,
        "running_seconds": worker.item_seconds if worker and worker.item == view.index else None,
        "worker": {"id": worker.id, "pid": worker.pid} if worker else None,
        "links": {"self": f"/v1/jobs/{job_id}/items/{view.index}", "job": f"/v1/jobs/{job_id}"},
    }


def _attempt(note: Note) -> dict[str, Any]:
    return {"attempt": note.attempt, "at": stamp(note.at), "error": note.error}


def _json_or_text(line: bytes) -> Any:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line.decode(errors="replace")
    return msgspec.Raw(line)
