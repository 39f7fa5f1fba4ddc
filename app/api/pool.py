"""Routes of tasks and workers."""

from collections.abc import Container, Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import documents, service_models
from app.api.context import Context, Ctx
from app.api.openapi import problems, returns
from app.api.query import Exact
from app.domain.engine import WorkerView
from app.domain.errors import NotFound, UnknownTask

router = APIRouter(route_class=Exact, prefix="/v1")


@router.get("/tasks", tags=["tasks"], responses={200: returns("The tasks.", service_models.TaskList)})
async def list_tasks(request: Request, context: Ctx) -> Response:
    """Every task, with the JSON Schema of its items, `params` and output."""
    return documents.answer({"tasks": [_task_document(request, task) for task in context.jobs.tasks()]})


@router.get(
    "/tasks/{name}",
    tags=["tasks"],
    responses={200: returns("The task.", service_models.Task), **problems(404)},
)
async def get_task(
    request: Request, context: Ctx, name: Annotated[str, Path(description="the task's name")]
) -> Response:
    """One task."""
    try:
        task = context.jobs.task(name)
    except UnknownTask as error:
        raise NotFound(error.detail) from None
    return documents.answer(_task_document(request, task))


@router.get("/pool", tags=["pool"], responses={200: returns("The pools.", service_models.Pools)})
async def get_pool(context: Ctx) -> Response:
    """The workers, by pool; of what they do, the caller's own."""
    return documents.answer(pools_document(context))


class PoolChange(BaseModel):
    """What can be changed of a pool, until the service is started anew."""

    model_config = ConfigDict(extra="forbid")

    processes: Annotated[int, Field(ge=1, le=512, description="how many workers the pool should have")] = 1
    paused: Annotated[bool, Field(description="whether no item is to start; those that run go on")] = False


@router.patch(
    "/pool/{name}",
    tags=["pool"],
    responses={200: returns("The pools, changed.", service_models.Pools), **problems(404, 413, 415, 422)},
    openapi_extra=documents.described(PoolChange),
)
async def patch_pool(
    request: Request, context: Ctx, name: Annotated[str, Path(description="the pool's name")]
) -> Response:
    """Resize, pause or resume a pool.  It grows at once and shrinks as items end; none is lost."""
    if name not in context.engine.pools():
        raise NotFound(f"There is no pool {name[:50]!r}; there are {', '.join(context.engine.pools())}.")
    change = await documents.read(request, PoolChange)
    if "processes" in change.model_fields_set:
        context.engine.resize(name, change.processes)
    if "paused" in change.model_fields_set:
        await context.control.set_paused(name, change.paused)
    return await get_pool(context)


def _worker(worker: WorkerView, own: Container[int]) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(worker)
    if worker.chunk_id is not None and worker.chunk_id not in own:
        document |= dict.fromkeys(("task", "item", "chunk_id"))
    return document


def pools_document(context: Context) -> dict[str, Any]:
    """Every pool, with its workers; of what they do, the caller's own."""
    engine = context.engine
    own = context.jobs.chunk_ids()
    pools = {
        name: {
            "processes": engine.size(name),
            "paused": context.control.is_paused(name),
            "restarts": engine.restarts(name),
            "workers": [_worker(worker, own) for worker in engine.workers(name)],
        }
        for name in engine.pools()
    }
    return {"pools": pools}


def _task_document(request: Request, task: Mapping[str, Any]) -> dict[str, Any]:
    base = str(request.base_url).rstrip("/")
    if task["file_parameter"] is not None:
        curl = f"curl -F file=@input '{base}/v1/jobs?task={task['name']}'"
    else:
        curl = f"curl -T items.jsonl '{base}/v1/jobs/my-job?task={task['name']}'"
    return {**task, "curl": curl, "links": {"self": f"/v1/tasks/{task['name']}"}}
