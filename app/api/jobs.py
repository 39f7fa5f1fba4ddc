"""Routes of jobs."""

import hashlib
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from app.api.context import Context, Ctx
from app.api.preferences import Preferences
from app.api.schemas import JOB_ID, job_document
from app.api.streaming import Stream, follow
from app.api.submit import submit
from app.domain import store
from app.domain.item import View
from app.domain.job import Status
from app.service.jobs import Accepted, JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

JobId = Annotated[str, Path(pattern=f"^{JOB_ID}$", description="the job's id")]

INLINE_ITEMS_MAX = 1_000
INLINE_BYTES_MAX = 1 << 20
RETRY_AFTER_SECONDS_MAX = 60


@router.post("", status_code=202)
async def post_job(request: Request, context: Ctx) -> Response:
    """Submit a job, as JSON, JSON lines or a form of files."""
    accepted = await submit(request, context, None)
    return await _answer(request, context, accepted, created=True)


@router.put("/{job_id}", status_code=202)
async def put_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    """Submit a job under your own id; sending the same again is the same job."""
    accepted = await submit(request, context, job_id)
    return await _answer(request, context, accepted, created=not accepted.replayed)


@router.get("")
async def get_jobs(
    request: Request,
    context: Ctx,
    status: Status | None = None,
    task: str | None = None,
    q: Annotated[str | None, Query(description="part of the id or the label")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(pattern=f"^{JOB_ID}$")] = None,
) -> Response:
    """Jobs, newest first."""
    query = store.Query(limit + 1, status, task, q, cursor)
    views = await context.jobs.list(query)
    more = len(views) > limit
    next_cursor = views[limit - 1].job.id if more else None
    document = {"jobs": [job_document(view) for view in views[:limit]], "next_cursor": next_cursor}
    headers = {}
    if next_cursor:
        headers["Link"] = f'<{request.url.include_query_params(cursor=next_cursor)}>; rel="next"'
    return Response(msgspec.json.encode(document), headers=headers, media_type="application/json")


@router.get("/{job_id}")
async def get_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    """One job.  `Prefer: wait=N` waits until it has finished."""
    preferences = Preferences.of(request)
    if preferences.wait_seconds is None:
        view = await context.jobs.get(job_id)
        return _job_response(view, None, 200, request=request)
    view = await context.jobs.wait(job_id, preferences.wait_seconds)
    return _job_response(view, await _inline_results(context, view), 200, preferences.applied, request)


@router.post("/{job_id}/cancel", status_code=202)
async def cancel_job(context: Ctx, job_id: JobId) -> Response:
    """No further item starts; those that run are ended.  Never too late."""
    view = await context.jobs.cancel(job_id)
    return _job_response(view, None, 200 if view.job.status.finished else 202)


@router.delete("/{job_id}", status_code=204)
async def delete_job(context: Ctx, job_id: JobId) -> Response:
    """Forget a finished job and its results."""
    await context.jobs.delete(job_id)
    return Response(status_code=204)


async def _answer(request: Request, context: Context, accepted: Accepted, *, created: bool) -> Response:
    """The answer to a submission: its job, or with `follow=1` its results as they come."""
    headers = {"Location": f"/v1/jobs/{accepted.job_id}"}
    if accepted.replayed and "idempotency-key" in request.headers:
        headers["Idempotent-Replayed"] = "true"
    if request.query_params.get("follow") in ("1", "true"):
        stream = follow(context.jobs, accepted.job_id, View(), 0)
        return Stream(stream, headers=headers, media_type="application/jsonl")
    preferences = Preferences.of(request)
    wait = preferences.wait_seconds
    view = await (
        context.jobs.get(accepted.job_id) if wait is None else context.jobs.wait(accepted.job_id, wait)
    )
    results = None if wait is None else await _inline_results(context, view)
    status = 200 if view.job.status.finished or not created else 202
    return _job_response(view, results, status, headers | preferences.applied)


async def _inline_results(context: Context, view: JobView) -> bytes | None:
    """The results of a finished job, in input order, if they are few and small."""
    if not view.job.status.finished or view.counts.total > INLINE_ITEMS_MAX:
        return None
    done = view.counts.done
    page = await context.jobs.results(view.job.id, View("index"), 0, INLINE_ITEMS_MAX, INLINE_BYTES_MAX)
    return page.lines if page.count == done and len(page.lines) <= INLINE_BYTES_MAX else None


def _job_response(
    view: JobView,
    results: bytes | None,
    status: int,
    headers: dict[str, str] | None = None,
    request: Request | None = None,
) -> Response:
    body = msgspec.json.encode(job_document(view, results))
    headers = dict(headers or {})
    if not view.job.status.finished:
        eta = view.eta_seconds or 1
        headers["Retry-After"] = str(round(min(max(eta, 1), RETRY_AFTER_SECONDS_MAX)))
    if request is not None:
        headers["ETag"] = etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "application/json")
