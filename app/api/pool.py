"""Routes of tasks and workers."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.context import Ctx
from app.domain.errors import NotFound, UnknownTask

router = APIRouter(prefix="/v1", tags=["tasks and pool"])


@router.get("/tasks")
async def get_tasks(request: Request, context: Ctx) -> Response:
    """Every task, with the JSON Schema of its items, `params` and output."""
    return _json({"tasks": [_task_document(request, task) for task in context.jobs.tasks()]})


@router.get("/tasks/{name}")
async def get_task(request: Request, context: Ctx, name: str) -> Response:
    """One task."""
    try:
        task = context.jobs.task(name)
    except UnknownTask as error:
        raise NotFound(error.detail) from None
    return _json(_task_document(request, task))


@router.get("/pool")
async def get_pool(context: Ctx) -> Response:
    """The workers, by pool."""
    engine = context.engine
    pools = {
        name: {
            "processes": engine.size(name),
            "restarts": engine.restarts(name),
            "workers": engine.workers(name),
        }
        for name in engine.pools()
    }
    return _json({"pools": pools})


class Resize(BaseModel):
    """What can be changed of a pool."""

    model_config = ConfigDict(extra="forbid")

    processes: int = Field(ge=1, le=512, description="how many workers the pool should have")


@router.patch("/pool/{name}")
async def patch_pool(context: Ctx, name: str, change: Resize) -> Response:
    """Resize a pool.  It grows at once and shrinks as items end; none is lost."""
    if name not in context.engine.pools():
        raise NotFound(f"There is no pool {name[:50]!r}; there are {', '.join(context.engine.pools())}.")
    context.engine.resize(name, change.processes)
    return await get_pool(context)


def _task_document(request: Request, task: Mapping[str, Any]) -> dict[str, Any]:
    base = str(request.base_url).rstrip("/")
    if task["file_parameter"] is not None:
        curl = f"curl -F file=@input '{base}/v1/jobs?task={task['name']}'"
    else:
        curl = f"curl -T items.jsonl '{base}/v1/jobs/my-job?task={task['name']}'"
    return {**task, "curl": curl, "links": {"self": f"/v1/tasks/{task['name']}"}}


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
